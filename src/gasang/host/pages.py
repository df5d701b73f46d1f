"""Which pages of this process's memory the host holds for it, and which of them are its own (Linux: pagemap of proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

PAGE = 4096
_WINDOW = 1 << 14
"""Pages asked for at a time: 64 MiB of memory."""
_PRESENT, _SWAPPED, _SHARED = 0x80, 0x40, 0x20
"""Bits 63, 62 and 61 of an entry, in its highest byte: in memory, in swap, a page of a file or of memory that others share."""
_KINDS = bytes(0 if not byte & (_PRESENT | _SWAPPED) else 1 if byte & _SHARED else 2 for byte in range(256))
_RUNS = re.compile(rb"\x01+|\x02+")


class PageRun(NamedTuple):
    """Bytes of whole pages; `own`: they are this process's alone (anonymous), not a file's."""

    offset: int
    length: int
    own: bool


def page_runs(address: int, size: int) -> Iterator[PageRun]:
    """The runs of pages at `address` (a page's) that have been touched. Where the host does not tell: all, as its own."""
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            for first in range(0, -(-size // PAGE), _WINDOW):
                yield from _window(file.fileno(), address, first, min(_WINDOW, -(-size // PAGE) - first))
    except FileNotFoundError:
        yield PageRun(0, size, own=True)


def _window(descriptor: int, address: int, first: int, count: int) -> Iterator[PageRun]:
    entries = os.pread(descriptor, 8 * count, (address // PAGE + first) * 8)
    for run in _RUNS.finditer(entries[7::8].translate(_KINDS)):
        yield PageRun((first + run.start()) * PAGE, len(run[0]) * PAGE, run[0][0] == 2)
