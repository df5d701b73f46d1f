"""A vCPU's first state in 64-bit mode: flat segments, and page tables that map the first GiBs as they are (Intel SDM 3A, 10.8.5)."""

from __future__ import annotations

import struct
from typing import Final

from gasang.accel.kvm.vcpu import Vcpu
from gasang.core.protocols import GuestMemory
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s

PAGE: Final = 4096
GIB: Final = 1 << 30
CODE_SELECTOR: Final = 0x10
DATA_SELECTOR: Final = 0x18
"""Where Linux wants them (Documentation/arch/x86/boot.rst, 64-bit boot protocol)."""

_CR0: Final = 0x8005_0033
"""Paging, protected mode, write protection, and the fixed bits of a processor with an FPU (Intel SDM 3A, 2.5)."""
_CR4_PAE: Final = 1 << 5
_EFER_LONG_MODE: Final = 1 << 8 | 1 << 10
_PRESENT, _WRITABLE, _LARGE = 1, 2, 1 << 7
_CODE, _DATA, _BUSY_TSS = 11, 3, 11
FLAGS: Final = 2
"""rflags of a processor that has just begun."""


def tables_size(gibs: int) -> int:
    """Bytes of the page tables that map so many GiB."""
    return (2 + gibs) * PAGE


def write_tables(memory: GuestMemory, address: int, gibs: int) -> None:
    """Page tables at `address` (a whole page) that map the first `gibs` (1 to 512) GiB in pages of 2 MiB."""
    directories = address + 2 * PAGE
    memory.write(address, struct.pack("<Q", address + PAGE | _PRESENT | _WRITABLE))
    pointers = (directories + number * PAGE | _PRESENT | _WRITABLE for number in range(gibs))
    memory.write(address + PAGE, struct.pack(f"<{gibs}Q", *pointers))
    pages = (number << 21 | _PRESENT | _WRITABLE | _LARGE for number in range(512 * gibs))
    memory.write(directories, struct.pack(f"<{512 * gibs}Q", *pages))


def enter_long_mode(vcpu: Vcpu, tables: int, rip: int, rsp: int = 0, rsi: int = 0) -> None:
    """Have the vCPU begin at `rip` in ring 0 of 64-bit mode, interrupts off, with page tables at `tables`. Raises RefusedError."""
    special = vcpu.get(ioctls.GET_SREGS)
    special.cs = s.Segment(0, 0xFFFF_FFFF, CODE_SELECTOR, _CODE, 1, 0, 0, 1, 1, 1)
    for name in ("ds", "es", "fs", "gs", "ss"):
        setattr(special, name, s.Segment(0, 0xFFFF_FFFF, DATA_SELECTOR, _DATA, 1, 0, 1, 1, 0, 1))
    special.tr = s.Segment(0, 0xFFFF, 0, _BUSY_TSS, 1, 0, 0, 0, 0, 0)
    special.cr0, special.cr3, special.cr4, special.efer = _CR0, tables, _CR4_PAE, _EFER_LONG_MODE
    vcpu.set(ioctls.SET_SREGS, special)
    vcpu.set(ioctls.SET_REGS, s.Regs(rip=rip, rsp=rsp, rsi=rsi, rflags=FLAGS))
