"""Programs of a few instructions on the compiled processor: no devices, no firmware, RAM at RAM_BASE."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import pytest

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.mmu import PTE_V
from support.lockstep.state import PAGE, RAM_BASE
from support.lockstep.subject import Nothing

RAM_SIZE = 8 << 20
CODE = RAM_BASE + 0x1000
TABLES = RAM_BASE + 0x500000
HANDLER = RAM_BASE + 0x80000


def asm(name: str, **operands: int) -> bytes:
    """One instruction; operands that are not given are 0 (rm: dynamic)."""
    instruction = rv64.by_name[name]
    values = {operand: operands.pop(operand, 7 if operand == "rm" else 0) for operand in instruction.pattern.operands}
    assert not operands, f"{name} has no operand {operands}"
    return instruction.encode(**values).to_bytes(instruction.length, "little")


class Bare:
    """Harts in S-mode with paging off, and what tests do to them."""

    def __init__(self, harts: int = 1) -> None:
        self.machine = SoftMachine(RAM_BASE, RAM_SIZE, harts)
        self.machine.bus = Nothing()
        self._next_table = TABLES
        for hart in self.machine.harts:
            hart.cpu.budget = hart.cpu.quantum = hart.cpu.remaining = 0
            hart.cpu.fs = 3
            hart.cpu.stvec = HANDLER
            hart.cpu.pc = CODE
        self.hart = self.machine.harts[0]
        self.cpu = self.hart.cpu

    def close(self) -> None:
        """Give the memory back."""
        self.machine.close()

    def put(self, address: int, *parts: bytes) -> int:
        """Place instructions; the address behind them."""
        code = b"".join(parts)
        self.machine.ram.write(address, code)
        return address + len(code)

    def word(self, address: int) -> int:
        """Eight bytes of RAM."""
        return int.from_bytes(self.machine.ram.read(address, 8), "little")

    def set_word(self, address: int, value: int) -> None:
        """Change eight bytes of RAM."""
        self.machine.ram.write(address, value.to_bytes(8, "little"))

    def run(self, count: int, hart: Hart | None = None) -> int:
        """Execute this many instructions and traps; why it ended (exits.LIMIT if they are used up)."""
        hart = hart or self.hart
        hart.cpu.remaining = count
        while (reason := hart.step()) in (exits.MMIO_READ, exits.MMIO_WRITE):
            pass
        cpu = hart.cpu
        cpu.retired += cpu.quantum - cpu.budget
        cpu.budget = cpu.quantum = cpu.remaining = 0
        return reason

    def enter(self, privilege: int, satp: int = 0, status: int | None = None) -> None:
        """Change mode and address space, and forget translations."""
        self.cpu.privilege, self.cpu.satp = privilege, satp
        if status is not None:
            self.cpu.status = status
        functions = self.machine.processor.functions
        functions["wipe_tlb"](self.hart.address)
        functions["enter_context"](self.hart.address)

    def new_table(self) -> int:
        """An empty page table."""
        self._next_table += PAGE
        self.machine.ram.write(self._next_table, bytes(PAGE))
        return self._next_table

    def map(self, root: int, levels: int, virtual: int, physical: int, flags: int, level: int = 0) -> int:
        """Enter a leaf at `level` (0: 4 KiB); the address of its PTE."""
        table = root
        for depth in range(levels - 1, level, -1):
            slot = table + (virtual >> 12 + 9 * depth & 511) * 8
            if self.word(slot) == 0:
                self.set_word(slot, self.new_table() >> 12 << 10 | PTE_V)
            table = self.word(slot) >> 10 << 12
        slot = table + (virtual >> 12 + 9 * level & 511) * 8
        self.set_word(slot, physical >> 12 << 10 | flags | PTE_V)
        return slot

    def trap(self) -> tuple[int, int, int]:
        """(scause, sepc, stval)."""
        return int(self.cpu.scause), int(self.cpu.sepc), int(self.cpu.stval)

    def registers(self) -> bytes:
        """x0 to x31."""
        return ctypes.string_at(self.hart.address, 256)


@pytest.fixture
def make_bare() -> Iterator[Callable[..., Bare]]:
    """``make_bare(harts)``: closed at the end."""
    made: list[Bare] = []

    def make(harts: int = 1) -> Bare:
        made.append(Bare(harts))
        return made[-1]

    yield make
    for bare in made:
        bare.close()
