"""Memory that programs see as small pages, gathered in huge ones (MADV_COLLAPSE of madvise(2), since Linux 6.1).

The host copies what lies in so many small pages to one huge page. It does so whatever its administrator has set for memory that asks for
huge pages as it is touched (/sys/kernel/mm/transparent_hugepage), and for memory that others may map, too.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

HUGE: Final = 1 << 21
"""Bytes of a huge page."""
MOST_HOLES: Final = HUGE // 16
"""Bytes of one that may not have been touched yet: so much more than before it costs at most."""
_COLLAPSE: Final = 25
LATER: Final = (errno.EAGAIN, errno.EBUSY, errno.ENOMEM)
"""Why it may do another time: the pages are in use for something else just now, or the host has no huge page left."""


def full(runs: Iterable[tuple[int, int]], size: int) -> Iterator[int]:
    """Where the huge pages of memory of `size` bytes begin that (offset, length) runs, in order, fill."""
    here = touched = 0
    for start, length in runs:
        end = min(start + length, size)
        while start < end:
            if start // HUGE * HUGE != here:
                here, touched = start // HUGE * HUGE, 0
            part = min(end, here + HUGE) - start
            if touched < HUGE - MOST_HOLES <= touched + part:
                yield here
            touched, start = touched + part, start + part


def collapse(address: int) -> int:
    """Have the HUGE bytes at `address` in one page: 0, or why not (errno; EINVAL before Linux 6.1, ENOSYS elsewhere)."""
    if not sys.platform.startswith("linux"):
        return errno.ENOSYS
    result = _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(HUGE), ctypes.c_int(_COLLAPSE))
    return ctypes.get_errno() if result else 0


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
