"""A part of a disk that somebody else has made: the one way in which what lies there is read.

Rules: nothing outside the part is read, nothing larger than a piece at a time, and all parts of one disk together no more than a meter
allows. So a table that leads in circles or names absurd sizes ends in an error, not in a loop.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gasang.core.errors import BadInputError

PIECE: Final = 64 << 20
"""Bytes of the largest piece that is read at once."""
_BYTES: Final = 2 << 30
_READS: Final = 1 << 19
Read = Callable[[int, int], bytes]
"""(offset, length) → that many bytes; raises OSError."""


@dataclass(slots=True)
class Meter:
    """What may still be read of a disk: bytes, and how many times."""

    bytes: int = _BYTES
    reads: int = _READS


class Window:
    """`size` bytes of a disk from `start` on. `subject` is what messages call it."""

    def __init__(self, read: Read, start: int, size: int, subject: str, meter: Meter | None = None) -> None:
        self._read = read
        self._start = start
        self.size = size
        self.subject = subject
        self._meter = meter or Meter()

    def part(self, start: int, size: int, what: str) -> Window:
        """A part of this part, of what lies within it."""
        start = min(max(start, 0), self.size)
        return Window(self._read, self._start + start, min(max(size, 0), self.size - start), f"{self.subject}, {what}", self._meter)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises BadInputError for a range outside, one too large, and a disk that is read without an end."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.damaged(f"it names bytes outside itself ({length} at {offset})")
        meter = self._meter
        meter.bytes -= length
        meter.reads -= 1
        if length > PIECE or meter.bytes < 0 or meter.reads < 0:
            raise self.damaged("its tables ask for more than can be")
        try:
            return self._read(self._start + offset, length)
        except OSError as error:
            raise self.damaged(f"it cannot be read ({error.strerror or error})") from error

    def fields(self, form: struct.Struct, offset: int) -> tuple[Any, ...]:
        """The fields of a structure at an offset. Raises as `read`."""
        return form.unpack(self.read(offset, form.size))

    def damaged(self, cause: str) -> BadInputError:
        """The error about what is wrong with it."""
        return BadInputError(self.subject, cause, "check the disk where it came from, or give a kernel with --kernel and --disk")
