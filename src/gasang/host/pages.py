"""Which pages of this process's memory the host holds for it, and which of them are its own (Linux: pagemap of proc(5)).

Since Linux 6.7 the host tells of runs of pages and passes over what was never touched (PAGEMAP_SCAN of ioctl(2), linux/fs.h); before,
it has a word for each page.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

PAGE = 4096
_WINDOW = 1 << 14
"""Pages asked for at a time: 64 MiB of memory."""
_PRESENT, _SWAPPED, _SHARED = 0x80, 0x40, 0x20
"""Bits 63, 62 and 61 of an entry, in its highest byte: in memory, in swap, a page of a file or of memory that others share."""
_KINDS = bytes(0 if not byte & (_PRESENT | _SWAPPED) else 1 if byte & _SHARED else 2 for byte in range(256))
_RUNS = re.compile(rb"\x01+|\x02+")


_SCAN = 0xC060_6610
"""_IOWR('f', 16, struct pm_scan_arg)"""
_ASKED = struct.Struct("<12Q")
"""size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask, return_mask"""
_WALKED = 4
_TOLD = struct.Struct("<3Q")
"""start, end, categories"""
_ROOM = 1024
_IS_FILE, _IS_PRESENT, _IS_SWAPPED = 4, 8, 16
"""PAGE_IS_…"""


class PageRun(NamedTuple):
    """Bytes of whole pages; `own`: they are this process's alone (anonymous), not a file's."""

    offset: int
    length: int
    own: bool


def page_runs(address: int, size: int) -> Iterator[PageRun]:
    """The runs of pages at `address` (a page's) that have been touched. Where the host does not tell: all, as its own."""
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            if _scans(file.fileno(), address):
                yield from _scanned(file.fileno(), address, size)
                return
            for first in range(0, -(-size // PAGE), _WINDOW):
                yield from _window(file.fileno(), address, first, min(_WINDOW, -(-size // PAGE) - first))
    except FileNotFoundError:
        yield PageRun(0, size, own=True)


def _scans(descriptor: int, address: int) -> bool:
    """Whether the host tells of runs."""
    try:
        _scan(descriptor, address, address + PAGE, ctypes.create_string_buffer(_TOLD.size))
    except OSError:  # no such call
        return False
    return True


def _scan(descriptor: int, start: int, end: int, room: ctypes.Array[ctypes.c_char]) -> tuple[int, int]:
    """How many runs are in `room` now, and up to where they are all."""
    import fcntl  # only Linux has what it asks

    either = _IS_PRESENT | _IS_SWAPPED
    place, places = ctypes.addressof(room), ctypes.sizeof(room) // _TOLD.size
    asked = bytearray(_ASKED.pack(_ASKED.size, 0, start, end, 0, place, places, 0, 0, 0, either, either | _IS_FILE))
    return fcntl.ioctl(descriptor, _SCAN, asked), int(_ASKED.unpack(asked)[_WALKED])


def _scanned(descriptor: int, address: int, size: int) -> Iterator[PageRun]:
    room = ctypes.create_string_buffer(_ROOM * _TOLD.size)
    at, end = address, address + -(-size // PAGE) * PAGE
    while at < end:
        count, at = _scan(descriptor, at, end, room)
        for start, stop, categories in _TOLD.iter_unpack(room.raw[: count * _TOLD.size]):
            yield PageRun(start - address, stop - start, own=not categories & _IS_FILE)


def _window(descriptor: int, address: int, first: int, count: int) -> Iterator[PageRun]:
    entries = os.pread(descriptor, 8 * count, (address // PAGE + first) * 8)
    for run in _RUNS.finditer(entries[7::8].translate(_KINDS)):
        yield PageRun((first + run.start()) * PAGE, len(run[0]) * PAGE, run[0][0] == 2)
