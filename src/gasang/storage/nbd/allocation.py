"""Which parts of a disk may hold something, asked again and again: the image's own answer is kept, and writes are added to it.

What was written stays "data" until the map is made anew, which a discard has it be; to call zeroes data is always allowed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from gasang.storage.nbd.protocol import STATE_HOLE, STATE_ZERO, Extent

EXTENTS_MAX = 4096
"""In one answer."""


class Allocation:
    """The parts that `runs` tells, (offset, length) in order; asked once there is need."""

    def __init__(self, runs: Callable[[], Iterator[tuple[int, int]]]) -> None:
        self._runs = runs
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._known = False

    def wrote(self, offset: int, length: int) -> None:
        """A range holds something now."""
        if not self._known or not length:
            return
        end = offset + length
        first, last = bisect_left(self._ends, offset), bisect_right(self._begins, end)
        if first < last:
            offset, end = min(offset, self._begins[first]), max(end, self._ends[last - 1])
        self._begins[first:last] = [offset]
        self._ends[first:last] = [end]

    def dropped(self) -> None:
        """Something became a hole."""
        self._known = False

    def extents(self, offset: int, length: int) -> list[Extent]:
        """The parts of a range, alternating, the first EXTENTS_MAX. Raises what the image raises."""
        if not self._known:
            found = list(self._runs())
            self._begins = [begin for begin, _ in found]
            self._ends = [begin + size for begin, size in found]
            self._known = True
        end = offset + length
        at = bisect_right(self._ends, offset)
        made: list[Extent] = []
        while offset < end and len(made) < EXTENTS_MAX:
            begin = min(end, self._begins[at]) if at < len(self._begins) else end
            if offset < begin:
                made.append(Extent(begin - offset, STATE_HOLE | STATE_ZERO))
                offset = begin
            else:
                stop = min(end, self._ends[at])
                made.append(Extent(stop - offset, 0))
                offset = stop
                at += 1
        return made
