"""Values that are computed once more where the region is left, so that nothing need keep them until then.

A temporary that is only there for those who come after the region would be carried to its end, or would keep LLVM from making one
instruction of two. Where what it was computed from is in registers that go on anyway, the way out computes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gasang.cpus.riscv64.region.circles import Circle
from gasang.cpus.riscv64.region.divisors import DIVISIONS
from gasang.cpus.riscv64.region.homes import Homes
from gasang.cpus.riscv64.region.pages import Step, is_computation
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.region.words import Words, after, is_copy

DEEPEST = 4
"""Instructions, one from the other's result, that are repeated."""
KNOWN = frozenset({"rd", "rs1", "rs2", "imm"})
"""Operands of instructions whose result follows from registers alone."""
_FIRST = 1 << 32
"""The number of what the instruction at place 0 computes; registers have their own numbers where the first line begins."""


@dataclass
class Anew:
    """What a line's registers hold at its end, told by numbers: of each the instruction that computed it, and from what."""

    circle: frozenset[int]
    """The lines that the line goes around with."""
    holds: dict[int, int]
    made: dict[int, tuple[Step, dict[int, int]]]
    there: dict[int, int] = field(default_factory=dict)
    """The registers that go on behind the line, by what they hold."""

    def execute(self, line: Iterable[Step], words: int) -> None:
        """Have the instructions of a line executed, before which these registers hold words."""
        for step in line:
            held = {register: self.holds[register] for register in _registers(step.reads)}
            number = _FIRST + step.place
            for register in _registers(step.writes & (1 << 32) - 1):
                self.holds[register] = next(iter(held.values())) if held and is_copy(step, words) else number
            if _can_be_repeated(step):
                self.made[number] = step, held
            words = after(step, words)

    def which(self, registers: int) -> Iterator[int]:
        """Those registers of a set that do not go on, but can be had from those that do."""
        for register in _registers(registers):
            if self.holds[register] not in self.there and self._can(self.holds[register], DEEPEST):
                yield register

    def _can(self, value: int, deep: int) -> bool:
        if value in self.there:
            return True
        if value not in self.made or not deep:
            return False
        return all(self._can(one, deep - 1) for one in self.made[value][1].values())


def behind_lines(region: Region, circles: Mapping[int, Circle], homes: Homes, words: Words) -> dict[int, Anew]:
    """What can be had anew behind the lines of circles, by leader."""
    found: dict[int, Anew] = {}
    for leader, circle in circles.items():  # each behind that before it
        earlier = found.get(circle.before[leader])
        holds, made = ({number: number for number in range(1, 32)}, {}) if earlier is None else (dict(earlier.holds), dict(earlier.made))
        anew = Anew(circle.lines, holds, made)
        line, live = region.line(leader), 0
        anew.execute(line, words.at(leader))
        for place in region.goes_on(line[-1]):
            if place in region.leaders:
                live |= homes.live(place)
        anew.there = {anew.holds[register]: register for register in _registers(live)}
        found[leader] = anew
    return found


def _can_be_repeated(step: Step) -> bool:
    instruction = step.decoded.instruction
    if instruction.function in DIVISIONS:  # takes longer than a value takes that is kept
        return False
    return is_computation(step) and KNOWN.issuperset(instruction.wants)


def _registers(found: int) -> list[int]:
    return [register for register in range(1, 32) if found >> register & 1]
