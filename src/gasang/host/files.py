"""File operations that differ between hosts: locks and holes."""

from __future__ import annotations

import ctypes
import os
import sys

PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE (fallocate(2))."""


def lock_file(descriptor: int, *, shared: bool) -> bool:
    """Take an advisory lock without waiting, given back on close; False if others exclude it. True where the host has no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give a range's space back; it reads as zeroes. Raises OSError where the host or file system cannot."""
    if not sys.platform.startswith("linux"):
        raise OSError("holes cannot be punched on this host")
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.fallocate(ctypes.c_int(descriptor), ctypes.c_int(PUNCH_HOLE_KEEP_SIZE), ctypes.c_int64(offset), ctypes.c_int64(length))
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
