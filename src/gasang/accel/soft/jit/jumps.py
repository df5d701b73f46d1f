"""Where indirect jumps lead, watched for a moment before code is compiled: a region follows those that it knows (cpus/riscv64/jumps.py)."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Final

from gasang.cpus.riscv64.state import JUMPS, PAGE_SIZE

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart
    from gasang.cpus.riscv64.library import Processor

REACH: Final = 4
"""Pages to each side whose jumps are watched."""
FARTHEST: Final = 1 << 21
"""Bytes from the page asked about to a target that is told."""
MOST_WATCHED: Final = 1 << 14
"""Stretches remembered: a guest may execute code at ever new addresses."""
_SPACE: Final = 1 << 64
_NOTED: Final = struct.Struct("<QQ")
"""A JumpSeen."""


class Jumps:
    """The watch of one machine. Its methods are called by a hart's own thread."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._watched: set[tuple[int, int]] = set()

    def watch(self, hart: Hart, page: int, stretch: int) -> bool:
        """Have the jumps near a stretch of a virtual page noted; whether there are any, and it has not been done before."""
        if (page, stretch) in self._watched:
            return False
        if len(self._watched) == MOST_WATCHED:
            self._watched.clear()
        self._watched.add((page, stretch))
        return self._change(hart, page, 1) > 0

    def seen(self, hart: Hart, page: int) -> tuple[tuple[int, int], ...]:
        """What was noted of the jumps near a page, and their targets, as distances from it. They are noted no more."""
        self._change(hart, page, 0)
        chosen = {(page + delta * PAGE_SIZE) % _SPACE // PAGE_SIZE for delta in range(-REACH, REACH + 1)}
        noted = _NOTED.iter_unpack(ctypes.string_at(ctypes.addressof(hart.cpu.jumps), JUMPS * _NOTED.size))
        distances = {(_signed(pc - page), _signed(target - page)) for pc, target in noted if pc // PAGE_SIZE in chosen}
        return tuple(sorted((place, target) for place, target in distances if abs(target) < FARTHEST))

    def _change(self, hart: Hart, page: int, watched: int) -> int:
        functions, noting = self._processor.functions, self._processor.noting
        table, pairs = ctypes.addressof(noting), len(noting) // 2
        return int(functions["watch_near"](hart.address, page & _SPACE - 1, REACH, table, pairs, watched))


def _signed(distance: int) -> int:
    return (distance + _SPACE // 2) % _SPACE - _SPACE // 2
