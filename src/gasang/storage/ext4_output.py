"""Where blocks come from and how they reach the file: an allocator that only moves forward, and writes gathered into large runs."""

from __future__ import annotations

from typing import BinaryIO

from gasang.storage.ext4_layout import BLOCK, Layout, Run

_GATHER = 4 << 20


class Allocator:
    """Hands out the free runs of a layout in order.

    Past the end it goes on with blocks that do not exist and says so in `short`: that is how the size that would have been needed
    is found.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._free = layout.free_runs()
        self._start, self._left = next(self._free, (layout.blocks, 0))
        self.used = 0
        self.short = not layout.fits
        self.taken: list[Run] = []
        """The runs handed out, neighbours joined."""

    def take(self, count: int) -> list[Run]:
        """`count` blocks, in as few runs as there are."""
        runs: list[Run] = []
        self.used += count
        while count:
            if not self._left:
                self._start, self._left = next(self._free, (self._layout.blocks, 0))
                if not self._left:
                    self.short = True
                    return [*runs, (self._layout.blocks, count)]
            length = min(count, self._left)
            runs.append((self._start, length))
            self._note(self._start, length)
            self._start += length
            self._left -= length
            count -= length
        return runs

    def _note(self, start: int, length: int) -> None:
        if self.taken:
            first, so_far = self.taken[-1]
            if first + so_far == start:
                self.taken[-1] = (first, so_far + length)
                return
        self.taken.append((start, length))

    def numbers(self, count: int) -> list[int]:
        """`count` blocks one by one."""
        return [start + i for start, length in self.take(count) for i in range(length)]


class RunWriter:
    """Writes at byte offsets; what is adjacent, or less than a block apart, goes out in one piece of some megabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: list[bytes | memoryview] = []
        self._start = 0
        self._end = 0

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store `data` at `offset`, in ascending order where it can be; gaps of less than a block become zeroes."""
        gap = offset - self._end
        if not 0 <= gap < BLOCK or self._end - self._start >= _GATHER:
            self.flush()
            self._start = self._end = offset
        elif gap:
            self._pieces.append(bytes(gap))
        self._pieces.append(data)
        self._end = offset + len(data)

    def flush(self) -> None:
        """Hand everything gathered to the file; raise OSError if the host fails."""
        if self._pieces:
            self._file.seek(self._start)
            self._file.write(b"".join(self._pieces))
            self._pieces = []
