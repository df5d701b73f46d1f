"""/dev/kvm of an x86-64 Linux host: a guest of one vCPU in 64-bit kernel mode that owns its few MiB of memory and nothing else.

Numbers and layouts are those of linux/kvm.h and asm/kvm.h (Documentation/virt/kvm/api.rst). Every method raises OSError as the host's
ioctl does. Nothing here knows what the guest is for.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

API_VERSION = 12
EXIT_IO = 2

_READ, _WRITE = 2, 1


def _number(number: int, direction: int = 0, size: int = 0) -> int:
    """An ioctl's number (asm-generic/ioctl.h); KVM's have the type 0xAE."""
    return direction << 30 | size << 16 | 0xAE << 8 | number


SREGS_SIZE = 312
KVM_GET_API_VERSION = _number(0x00)
KVM_CREATE_VM = _number(0x01)
KVM_GET_VCPU_MMAP_SIZE = _number(0x04)
KVM_CREATE_VCPU = _number(0x41)
KVM_SET_USER_MEMORY_REGION = _number(0x46, _WRITE, 32)
KVM_RUN = _number(0x80)
KVM_SET_REGS = _number(0x82, _WRITE, 144)
KVM_GET_SREGS = _number(0x83, _READ, SREGS_SIZE)
KVM_SET_SREGS = _number(0x84, _WRITE, SREGS_SIZE)

_EXIT_REASON = 8
"""Where `exit_reason` stands in struct kvm_run."""
_SEGMENT = struct.Struct("<QIH8B2x")
"""struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl."""
_CONTROL = struct.Struct("<6Q")
_CONTROL_OFFSET = 8 * _SEGMENT.size + 2 * 16
"""cr0, cr2, cr3, cr4, cr8 and efer stand behind eight segments and two descriptor tables."""
_REGISTERS = struct.Struct("<18Q")
"""struct kvm_regs: rax rbx rcx rdx rsi rdi rsp rbp, r8 to r15, rip, rflags."""

_CR0 = 0x8005_0033
"""Paging, protected mode, write protection, and the fixed bits of a processor with an FPU (Intel SDM 3A, 2.5)."""
_CR4_PAE = 1 << 5
_EFER_LONG_MODE = 1 << 8 | 1 << 10
_PRESENT, _WRITABLE, _LARGE = 1, 2, 1 << 7
_CODE, _DATA = 11, 3
_FLAGS = 2
"""rflags of a processor that has just begun."""

PAGE = 4096
_TABLES = PAGE
"""Three page tables, from the second page on, map the first GiB as it is."""
CODE_ADDRESS = 4 * PAGE
MEMORY = 2 << 20


class LongModeGuest:
    """A vCPU that executes `code` at CODE_ADDRESS, in ring 0 with flat segments; `memory` is the guest's, from address 0 on."""

    def __init__(self, device: Path, code: bytes) -> None:
        self._descriptors: list[int] = []
        self.memory = mmap.mmap(-1, MEMORY)
        self._anchor = ctypes.c_char.from_buffer(self.memory)
        try:
            self._begin(device, code)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _begin(self, device: Path, code: bytes) -> None:
        kvm = self._keep(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        if (version := fcntl.ioctl(kvm, KVM_GET_API_VERSION, 0)) != API_VERSION:
            raise OSError(f"KVM's interface has version {version}, not {API_VERSION}")
        machine = self._keep(fcntl.ioctl(kvm, KVM_CREATE_VM, 0))
        region = struct.pack("<IIQQQ", 0, 0, 0, MEMORY, ctypes.addressof(self._anchor))
        fcntl.ioctl(machine, KVM_SET_USER_MEMORY_REGION, region)
        self._vcpu = self._keep(fcntl.ioctl(machine, KVM_CREATE_VCPU, 0))
        self._run = mmap.mmap(self._vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0))
        self._write_tables()
        self.memory[CODE_ADDRESS : CODE_ADDRESS + len(code)] = code
        self._enter_long_mode()

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    def _write_tables(self) -> None:
        for level in (0, 1):
            struct.pack_into("<Q", self.memory, _TABLES + level * PAGE, _TABLES + (level + 1) * PAGE | _PRESENT | _WRITABLE)
        for number in range(512):
            struct.pack_into("<Q", self.memory, _TABLES + 2 * PAGE + 8 * number, number << 21 | _PRESENT | _WRITABLE | _LARGE)

    def _enter_long_mode(self) -> None:
        special = bytearray(SREGS_SIZE)
        fcntl.ioctl(self._vcpu, KVM_GET_SREGS, special)
        _SEGMENT.pack_into(special, 0, 0, 0xFFFFFFFF, 8, _CODE, 1, 0, 0, 1, 1, 1, 0)
        for number in range(1, 6):
            _SEGMENT.pack_into(special, number * _SEGMENT.size, 0, 0xFFFFFFFF, 16, _DATA, 1, 0, 1, 1, 0, 1, 0)
        _CONTROL.pack_into(special, _CONTROL_OFFSET, _CR0, 0, _TABLES, _CR4_PAE, 0, _EFER_LONG_MODE)
        fcntl.ioctl(self._vcpu, KVM_SET_SREGS, bytes(special))
        registers = [0] * 16
        fcntl.ioctl(self._vcpu, KVM_SET_REGS, _REGISTERS.pack(*registers, CODE_ADDRESS, _FLAGS))

    def run(self) -> int:
        """Execute until the guest needs something; the reason (KVM_EXIT_…)."""
        while True:
            try:
                fcntl.ioctl(self._vcpu, KVM_RUN, 0)
            except InterruptedError:  # a signal to this process: the guest goes on
                continue
            return int(struct.unpack_from("<I", self._run, _EXIT_REASON)[0])

    def close(self) -> None:
        """Give everything back."""
        if hasattr(self, "_run"):
            self._run.close()
        for descriptor in reversed(self._descriptors):
            os.close(descriptor)
        self._descriptors.clear()
        if hasattr(self, "_anchor"):
            del self._anchor
            self.memory.close()
