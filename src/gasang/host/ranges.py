"""Ranges of bytes as (offset, length): in order, and no two that overlap."""

from __future__ import annotations

from bisect import bisect_right

Ranges = tuple[tuple[int, int], ...]


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
