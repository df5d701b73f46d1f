"""Which accesses of a straight line share a look: those by the same register, or by what differs from it by a known number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gasang.cpus.instruction_set import NO_REGISTER
from gasang.cpus.riscv64 import memory
from gasang.cpus.riscv64.i import add, addi
from gasang.cpus.riscv64.mmu import LOAD, STORE
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.state import LONGEST

REGISTERS = NO_REGISTER + 1
"""x0 to x31, and what stands for no register."""


@dataclass(frozen=True)
class Access:
    """What a function of memory.py does."""

    size: int
    kind: int


ACCESSES: dict[Any, Access] = {
    getattr(memory, f"{verb}_u{8 * size}"): Access(size, kind)
    for verb, kind in (("load", LOAD), ("store", STORE)) for size in (1, 2, 4, 8)
}  # fmt: skip


@dataclass(eq=False)
class Group:
    """Accesses that share a look at a window."""

    kind: int
    low: int
    high: int
    """The stretch, from the value that a register had."""
    register: int | None = None
    """Which register it was when the line began, if it was one."""
    host: str = ""
    """Where the look found the stretch, once it is made."""
    window: int | None = None
    """Its number, given with the first look."""
    is_alone: bool = False
    """Whether its stores have looked for reservations together, before."""
    addend: str = ""
    """The slot with the way from its addresses to the host's memory, where that is known before: then there is no look."""


@dataclass(eq=False)
class Whole:
    """A word of which a group's accesses are the bytes: `size` bytes from `low`."""

    low: int
    size: int
    word: str = ""
    """What was loaded."""
    stored: dict[int, str] = field(default_factory=dict)
    """Bytes that are to be stored, moved to where the word has them, by their first bit."""


@dataclass(frozen=True)
class Planned:
    """An instruction's access: its group, and its distance from the value that the group goes by."""

    group: Group
    distance: int
    whole: Whole | None = None
    """The word that it is a byte of, if it is (pieces.py)."""
    is_last: bool = False
    """Of the word's bytes."""


def plan(line: Iterable[Step], *, apart: bool = False) -> dict[int, Planned]:
    """The accesses of a straight line, by place; `apart` where loads and stores have no group in common."""
    open_groups: dict[tuple[int, int], Group] = {}
    values = {register: (register, 0) for register in range(REGISTERS)}
    """To each register which of the values met so far it is, and how much more."""
    planned: dict[int, Planned] = {}
    for number, step in enumerate(line):
        instruction, slots = step.decoded.instruction, step.decoded.slots
        access = access_of(step)
        if access is not None:
            value, more = values[slots["rs1"]]
            distance = slots["imm"] + more
            key = value, access.kind if apart else LOAD
            group = open_groups.get(key)
            if group is None or max(group.high, distance + access.size) - min(group.low, distance) > LONGEST:
                register = value if value < REGISTERS else None
                group = open_groups[key] = Group(access.kind, distance, distance + access.size, register)
            group.low, group.high = min(group.low, distance), max(group.high, distance + access.size)
            group.kind = max(group.kind, access.kind)
            planned[step.place] = Planned(group, distance)
        if "rd" in instruction.wants:
            values[slots["rd"]] = written_value(step, values) or (REGISTERS + number, 0)
    return planned


def access_of(step: Step) -> Access | None:
    """What an instruction does with memory, if it is a load or a store."""
    function: Any = step.decoded.instruction.function
    return next((ACCESSES[callee] for callee in function.tree.callees if callee in ACCESSES), None)


def written_value(step: Step, values: dict[int, tuple[int, int]]) -> tuple[int, int] | None:
    """Which value an instruction writes, and how much more; None if it is none that was met before."""
    function, slots = step.decoded.instruction.function, step.decoded.slots
    if function is addi:
        value, more = values[slots["rs1"]]
        return value, more + slots["imm"]
    return values[slots["rs2"]] if function is add and slots["rs1"] == 0 else None
