"""Pieces of disks: runs that follow one another joined, and zeroes found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

GRAIN = 1 << 16
"""Zeroes are looked for in pieces of this size."""
ZEROES = bytes(GRAIN)


def joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(offset, length) runs in order, those that touch made one."""
    start = end = -1
    for offset, length in runs:
        if offset == end:
            end += length
            continue
        if end > start:
            yield start, end - start
        start, end = offset, offset + length
    if end > start:
        yield start, end - start


def is_zero(data: bytes | bytearray, start: int = 0) -> bool:
    """Whether nothing but zeroes stands from `start` on."""
    while start < len(data):
        step = min(GRAIN, len(data) - start)
        if not data.startswith(ZEROES if step == GRAIN else ZEROES[:step], start):
            return False
        start += step
    return True


def filled(data: bytes | bytearray, grain: int = GRAIN) -> Iterator[tuple[int, int]]:
    """(start, length) of the parts of `data`, in steps of `grain`, that are not all zeroes; those that touch are one."""
    zero = bytes(grain)
    last = len(data)
    begin = -1
    for at in range(0, last, grain):
        empty = data.startswith(zero, at) if at + grain <= last else is_zero(data, at)
        if empty and begin >= 0:
            yield begin, at - begin
            begin = -1
        elif not empty and begin < 0:
            begin = at
    if begin >= 0:
        yield begin, last - begin
