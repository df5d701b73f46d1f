"""A software machine without a board."""

from __future__ import annotations

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.machine import SoftMachine
from gasang.devices.bus import BusError

RAM_BASE = 0x8000_0000


class Nothing:
    """A bus where nobody answers."""

    def read(self, address: int, width: int) -> int:
        raise BusError(address, width, is_write=False)

    def write(self, address: int, width: int, value: int) -> None:
        raise BusError(address, width, is_write=True)


def bare_machine(program: bytes = b"", harts: int = 1, memory: int = 1 << 20, jit: str = "off") -> SoftMachine:
    """A machine with no devices, `program` at the start of its memory; an environment call ends it."""
    machine = SoftMachine(RAM_BASE, memory, harts, jit)
    machine.bus = Nothing()

    def end(hart: Hart) -> None:
        machine.stop()

    machine.firmware = end
    machine.ram.write(RAM_BASE, program)
    return machine
