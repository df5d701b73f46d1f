"""Files with holes: where they have data, and space given back."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE (fallocate(2))."""


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give a range's space back; it reads as zeroes. Raises OSError where the host or file system cannot."""
    if not sys.platform.startswith("linux"):
        raise OSError(errno.EOPNOTSUPP, "holes cannot be punched on this host")
    import ctypes  # only who punches holes has time for it

    how = ctypes.c_int(_PUNCH_HOLE_KEEP_SIZE)
    result = _libc().fallocate(ctypes.c_int(descriptor), how, ctypes.c_int64(offset), ctypes.c_int64(length))
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@cache
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def data_runs(descriptor: int, size: int, offset: int = 0) -> Iterator[tuple[int, int]]:
    """The (offset, length) runs of a file's first `size` bytes, from `offset` on, that may hold something else than zeroes, in order.

    One run of everything where the host knows no holes. Moves the descriptor's position.
    """
    if not hasattr(os, "SEEK_DATA"):
        if offset < size:
            yield offset, size - offset
        return
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            start, end = offset, size
        else:
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        if start < size:
            yield start, min(end, size) - start
        offset = end
