"""What a hart would find in memory, looked up from outside: nothing in the machine changes by it."""

from __future__ import annotations

from gasang.accel.soft.memory import GuestRam
from gasang.core.protocols import GuestMemoryFault

LEVELS = {8: 3, 9: 4, 10: 5}
"""satp.MODE to the levels of its page table: Sv39, Sv48, Sv57."""
A_VALID, A_LEAF = 1, 0b1110


def physical_address(ram: GuestRam, satp: int, address: int) -> int | None:
    """Where `address` is by the page tables of `satp`, without a trace in the machine; None if nowhere (Sv39, Sv48, Sv57)."""
    levels = LEVELS.get(satp >> 60)
    if levels is None:
        return address
    table = (satp & (1 << 44) - 1) << 12
    for level in reversed(range(levels)):
        shift = 12 + 9 * level
        try:
            entry = int.from_bytes(ram.read(table + (address >> shift & 511) * 8, 8), "little")
        except GuestMemoryFault:
            return None
        if not entry & A_VALID:
            return None
        frame = (entry >> 10 & (1 << 44) - 1) << 12
        if entry & A_LEAF:
            offset = (1 << shift) - 1
            return frame & ~offset | address & offset
        table = frame
    return None


def instruction_at(ram: GuestRam, satp: int, pc: int) -> int | None:
    """The instruction word at virtual address `pc`; None where there is none to be read."""
    halves = []
    for place in (pc, pc + 2):
        physical = physical_address(ram, satp, place)
        try:
            if physical is None:
                return None
            halves.append(int.from_bytes(ram.read(physical, 2), "little"))
        except GuestMemoryFault:
            return None
        if halves[0] & 3 != 3:
            return halves[0]
    return halves[0] | halves[1] << 16
