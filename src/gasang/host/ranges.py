"""Ranges of bytes as (offset, length): in order, and no two that overlap; and marks on parts of a memory, which tell them roughly."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

Ranges = tuple[tuple[int, int], ...]
PART: Final = 1 << 16
_MARKED: Final = re.compile(rb"\x01+")


def overlapping(ranges: Ranges, offset: int, length: int) -> bool:
    """Whether any of `ranges` has a byte of `length` (not zero) from `offset` on."""
    first, last = _touched(ranges, offset, length)
    return first < last


def without(ranges: Ranges, offset: int, length: int) -> Ranges:
    """What is left of `ranges` when `length` bytes (not zero) from `offset` on are taken out."""
    first, last = _touched(ranges, offset, length)
    if first == last:
        return ranges
    begin, end = ranges[first][0], sum(ranges[last - 1])
    left = ((begin, offset - begin), (offset + length, end - offset - length))
    return (*ranges[:first], *((start, size) for start, size in left if size > 0), *ranges[last:])


def _touched(ranges: Ranges, offset: int, length: int) -> tuple[int, int]:
    """The first range that has some of it, and the first behind that has none."""
    first = bisect_right(ranges, (offset, 0))
    if first and sum(ranges[first - 1]) > offset:
        first -= 1
    return first, max(first, bisect_right(ranges, (offset + length - 1, 1 << 63)))


class Marks:
    """Which parts of PART bytes, of `size` in all, have been marked; costs a byte a part once one is."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts = bytearray()

    def add(self, offset: int, length: int) -> None:
        """Mark every part that has some of a range (of a byte at least, which lies inside)."""
        if not self._parts:
            self._parts = bytearray(-(-self._size // PART))
        first, end = offset // PART, -(-(offset + length) // PART)
        self._parts[first:end] = b"\x01" * (end - first)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The marked parts."""
        for run in _MARKED.finditer(self._parts):
            yield run.start() * PART, min(run.end() * PART, self._size) - run.start() * PART

    def clear(self) -> None:
        """No marks."""
        self._parts = bytearray()
