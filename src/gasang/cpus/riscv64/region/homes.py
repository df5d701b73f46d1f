"""Where the values of a region's registers are: with the hart, too, or in the host's registers alone, to be written back by an exit.

What an instruction writes must be right wherever the region may be left, even if the region itself reads it no more. Such a value would
have to be carried round a loop for the sake of exits that are hardly ever taken, in a host that has few registers. So a register that is
dead at the head of a circle is put away, into the hart's, before each pass of the head: exits behind it need not have it.

It is put away where it is written last, if all ways from there lead to such heads first; else on the edge to the head.

Sets of registers are numbers of 64 bits here: x1 to x31, then f0 to f31.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gasang.cpus.riscv64.region.circles import Circle
from gasang.cpus.riscv64.region.pages import FIRST_FLOAT
from gasang.cpus.riscv64.region.shape import Region

_ALL = (1 << 64) - 1


@dataclass
class Line:
    """A straight line: what it reads before it writes it, what it writes, and the lines that may follow."""

    reads: int = 0
    writes: int = 0
    following: list[int] = field(default_factory=list)


class Homes:
    """What is put away where, in one region."""

    def __init__(self, region: Region, overwritten: Mapping[int, int] | None = None, circles: Mapping[int, Circle] | None = None) -> None:
        """`overwritten` are by heads the registers that are written behind them before the region can be left."""
        self._circles = circles or {}
        self._heads = region.heads
        self._overwritten = overwritten or {}
        self._lines = {leader: _line(region, leader) for leader in sorted(region.leaders)}
        self.written = 0
        for line in self._lines.values():
            self.written |= line.writes
        self._find_live()
        self._find_early()
        self._find_stored()

    def away(self, place: int) -> int:
        """What must be put away before a place is gone to."""
        return self._dead(place) & ~self.lazy(place)

    def lazy(self, place: int) -> int:
        """What need be put away only where the region polls before a head, or does not find its accesses."""
        return self._dead(place) & self._overwritten.get(place, 0)

    def _dead(self, place: int) -> int:
        return self.written & ~self._live[place] if place in self._heads else 0

    def live(self, place: int) -> int:
        """What is read inside before it is written, from the beginning of a line on."""
        return self._live[place]

    def early(self, leader: int) -> int:
        """What a line puts away as soon as it has written it for the last time."""
        return self._early[leader]

    def stored(self, leader: int) -> int:
        """What the hart has the values of when a line begins."""
        return self._stored[leader]

    def _backwards(self) -> Iterator[tuple[int, Line]]:
        """Every line, again and again as long as `changed` is set in between."""
        self._changed = True
        while self._changed:
            self._changed = False
            for leader in reversed(self._lines):
                yield leader, self._lines[leader]

    def _put(self, sets: dict[int, int], leader: int, found: int) -> None:
        if sets[leader] != found:
            sets[leader] = found
            self._changed = True

    def _find_live(self) -> None:
        """What is read before it is written, from the beginning of each line on, inside."""
        live = self._live = dict.fromkeys(self._lines, 0)
        for leader, line in self._backwards():
            after = 0
            for found in line.following:
                after |= live[found]
            self._put(live, leader, line.reads | after & ~line.writes)

    def _find_early(self) -> None:
        """From what a line has written, without another write: may it come to a head where it is dead; may it to one where it is not."""
        dead, carried = dict.fromkeys(self._lines, 0), dict.fromkeys(self._lines, 0)
        for leader, line in self._backwards():
            to_dead, to_carried = self._ahead(line, dead, carried)
            self._put(dead, leader, to_dead & ~line.writes)
            self._put(carried, leader, to_carried & ~line.writes)
        self._early = {}
        for leader, line in self._lines.items():
            to_dead, to_carried = self._ahead(line, dead, carried)
            self._early[leader] = line.writes & to_dead & ~to_carried & self._needed_around(leader, dead)

    def _needed_around(self, leader: int, dead: dict[int, int]) -> int:
        """What of a line must be put away even if its circle is not left: the rest is, where it is left."""
        if leader not in self._circles:
            return _ALL
        needed = 0
        for found in self._lines[leader].following:
            if found in self._circles[leader].lines:
                needed |= self.away(found) if found in self._heads else dead[found]
        return needed

    def _ahead(self, line: Line, dead: dict[int, int], carried: dict[int, int]) -> tuple[int, int]:
        to_dead = to_carried = 0
        for found in line.following:
            if found in self._heads:
                to_dead |= self.away(found)
                to_carried |= self._live[found] | self.lazy(found)
            else:
                to_dead |= dead[found]
                to_carried |= carried[found]
        return to_dead, to_carried

    def _find_stored(self) -> None:
        """Forwards: what every way to a line has put away. A way in from outside has all of it."""
        stored = self._stored = dict.fromkeys(self._lines, _ALL)
        self._changed = True
        while self._changed:
            self._changed = False
            for leader, line in self._lines.items():
                after = stored[leader] & ~line.writes | self._early[leader]
                for found in line.following:
                    self._put(stored, found, stored[found] & (after | self.away(found)))


def _line(region: Region, leader: int) -> Line:
    line = Line()
    steps = region.line(leader)
    for step in steps:
        line.reads |= step.reads & ~line.writes
        line.writes |= step.writes
    line.following = [place for place in region.goes_on(steps[-1]) if place in region.leaders]
    return line


def names(registers: int) -> Iterator[str]:
    """The registers of a set, in order: x1, f0."""
    for number in range(1, 64):
        if registers >> number & 1:
            yield f"x{number}" if number < FIRST_FLOAT else f"f{number - FIRST_FLOAT}"
