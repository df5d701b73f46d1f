"""Our own hart behind the same face as the golden one: the compiled processor of a software machine with one hart."""

from __future__ import annotations

import ctypes

from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.csr import (
    FFLAGS,
    FRM,
    SATP,
    SCAUSE,
    SCOUNTEREN,
    SENVCFG,
    SEPC,
    SIE,
    SSCRATCH,
    SSTATUS,
    SSTATUS_SD,
    SSTATUS_UXL,
    SSTATUS_WRITABLE,
    STIMECMP,
    STVAL,
    STVEC,
)
from gasang.cpus.riscv64.state import Cpu
from gasang.cpus.riscv64.trap import SSTATUS_MXR, SSTATUS_SUM
from gasang.devices.bus import BusError
from support.lockstep.state import RAM_BASE, RAM_SIZE, Vector, csr_numbers

FIELDS = {
    FFLAGS: "fflags", FRM: "frm", SIE: "sie", STVEC: "stvec", SCOUNTEREN: "scounteren", SENVCFG: "senvcfg", SSCRATCH: "sscratch",
    SEPC: "sepc", SCAUSE: "scause", STVAL: "stval", STIMECMP: "stimecmp", SATP: "satp",
}  # fmt: skip


class Nothing:
    """A bus without devices."""

    def read(self, address: int, width: int) -> int:
        """Nothing answers."""
        raise BusError(address, width, is_write=False)

    def write(self, address: int, width: int, value: int) -> None:
        """Nothing answers."""
        raise BusError(address, width, is_write=True)


class Subject:
    """One of our harts with RAM at RAM_BASE."""

    def __init__(self, ram_size: int = RAM_SIZE, harts: int = 1) -> None:
        self.machine = SoftMachine(RAM_BASE, ram_size, harts)
        self.machine.bus = Nothing()
        self.hart = self.machine.harts[0]
        self.cpu = self.hart.cpu
        self.cpu.budget = self.cpu.quantum = self.cpu.remaining = 0
        self._functions = self.machine.processor.functions
        self._f = self.hart.address + Cpu.ctype.f.offset

    def close(self) -> None:
        """Give the memory back."""
        self.machine.close()

    def read(self, physical: int, length: int) -> bytes:
        """RAM."""
        return self.machine.ram.read(physical, length)

    def write(self, physical: int, data: bytes) -> None:
        """Store."""
        self.machine.ram.write(physical, data)

    def flush(self) -> None:
        """Forget translations and decoded code."""
        self._functions["wipe_tlb"](self.hart.address)
        self._functions["forget_all_blocks"](self.hart.address)
        self._functions["enter_context"](self.hart.address)

    def drop_reservation(self) -> None:
        """As if another hart had written to the reserved line."""
        self.cpu.reservation_live = 0

    def set_privilege(self, privilege: int) -> None:
        """Enter U (0) or S (1)."""
        self.cpu.privilege = privilege
        self._functions["enter_context"](self.hart.address)

    def set_csr(self, number: int, value: int) -> None:
        """Write a CSR as the machine level could."""
        if number == SSTATUS:
            if (self.cpu.status ^ value) & (SSTATUS_SUM | SSTATUS_MXR):
                self._functions["wipe_tlb"](self.hart.address)
            self.cpu.status = value & SSTATUS_WRITABLE
            self.cpu.fs = value >> 13 & 3
        else:
            setattr(self.cpu, FIELDS[number], value)
        self._functions["enter_context"](self.hart.address)

    def csr(self, number: int) -> int:
        """Read a CSR."""
        if number == SSTATUS:
            fs = int(self.cpu.fs)
            return int(self.cpu.status) | fs << 13 | SSTATUS_UXL | (SSTATUS_SD if fs == 3 else 0)
        return int(getattr(self.cpu, FIELDS[number]))

    def set_pc(self, pc: int) -> None:
        """Where execution goes on."""
        self.cpu.pc = pc

    def set_registers(self, x: bytes, f: bytes) -> None:
        """32 integer and 32 floating-point registers, eight bytes each."""
        ctypes.memmove(self.hart.address, x, 256)
        ctypes.memmove(self._f, f, 256)

    def step(self, count: int) -> int:
        """Execute exactly `count` instructions and traps; the reason why execution ended earlier, or exits.LIMIT."""
        self.cpu.remaining = count
        while True:
            reason = self.hart.step()
            if reason not in (exits.MMIO_READ, exits.MMIO_WRITE):
                self.cpu.retired += self.cpu.quantum - self.cpu.budget
                self.cpu.remaining = self.cpu.budget = self.cpu.quantum = 0
                return reason

    @property
    def retired(self) -> int:
        """Instructions retired."""
        return self.hart.instructions

    def vector(self) -> Vector:
        """The whole state."""
        x, f = ctypes.string_at(self.hart.address, 256), ctypes.string_at(self._f, 256)
        return Vector(int(self.cpu.pc), int(self.cpu.privilege), x, f, tuple(self.csr(number) for number in csr_numbers()))
