"""Tiny guests in machine code, and machines to run them in."""

from __future__ import annotations

import os
import platform
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gasang.accel.kvm.long_mode import enter_long_mode, tables_size, write_tables
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.system import Kvm
from gasang.core.protocols import State
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s

DEVICE = Path("/dev/kvm")
needs_kvm = pytest.mark.skipif(
    platform.machine() != "x86_64" or not os.access(DEVICE, os.R_OK | os.W_OK), reason="no /dev/kvm for an x86-64 guest here"
)
CODE = 0x8000
TABLES = 0x1000
SIZE = 2 << 20


class Recorder:
    """A device that notes what is stored and answers with what it was told."""

    def __init__(self, size: int, answer: int = 0) -> None:
        self.size = size
        self.answer = answer
        self.stored: list[tuple[int, int, int]] = []
        self.heard = threading.Event()

    def read(self, offset: int, width: int) -> int:
        """What it was told to."""
        return self.answer >> (8 * offset)

    def write(self, offset: int, width: int, value: int) -> None:
        """Note it."""
        self.stored.append((offset, width, value))
        self.heard.set()

    def reset(self) -> None:
        """Forget."""
        self.stored.clear()

    def save(self) -> State:
        """Nothing."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Nothing."""


@contextmanager
def machine(shape: Shape | None = None) -> Iterator[KvmMachine]:
    """A machine whose threads have ended when it is closed."""
    with Kvm(DEVICE) as kvm:
        made = KvmMachine(kvm, shape or Shape(ram=((0, SIZE),), irqchip=False))
    try:
        yield made
    finally:
        made.stop()
        made.wait()
        made.close()


def real_mode(made: KvmMachine, code: bytes, number: int = 0) -> None:
    """Begin in real mode at CODE."""
    made.ram.write(CODE, code)
    vcpu = made.vcpus[number]
    special = vcpu.get(ioctls.GET_SREGS)
    for name in ("cs", "ds", "es", "ss"):
        segment = getattr(special, name)
        segment.base, segment.selector = 0, 0
    vcpu.set(ioctls.SET_SREGS, special)
    vcpu.set(ioctls.SET_REGS, s.Regs(rip=CODE, rsp=0x7000, rflags=2))


def protected_mode(made: KvmMachine, code: bytes, number: int = 0, at: int = CODE) -> None:
    """Begin in 32-bit protected mode at `at`, flat, without paging."""
    made.ram.write(at, code)
    vcpu = made.vcpus[number]
    special = vcpu.get(ioctls.GET_SREGS)
    special.cs = s.Segment(0, 0xFFFF_FFFF, 8, 11, 1, 0, 1, 1, 0, 1)
    for name in ("ds", "es", "fs", "gs", "ss"):
        setattr(special, name, s.Segment(0, 0xFFFF_FFFF, 16, 3, 1, 0, 1, 1, 0, 1))
    special.cr0 |= 1
    vcpu.set(ioctls.SET_SREGS, special)
    vcpu.set(ioctls.SET_REGS, s.Regs(rip=at, rsp=0x7000, rflags=2))


def long_mode(made: KvmMachine, code: bytes) -> None:
    """Begin in 64-bit mode at CODE."""
    assert TABLES + tables_size(4) <= CODE
    write_tables(made.ram, TABLES, 4)
    made.ram.write(CODE, code)
    enter_long_mode(made.vcpus[0], TABLES, CODE, rsp=0x7FF0)


def word(made: KvmMachine, address: int) -> int:
    """A 64-bit word of guest memory."""
    return int(struct.unpack("<Q", made.ram.read(address, 8))[0])
