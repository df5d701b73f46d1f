"""Stable storage for many files at once, and how to tell that the host has been started anew since."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path


def sync_file_system(folder: Path) -> None:
    """Return once everything written to the folder's file system is on stable storage; raise OSError if the host fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "syncfs"):
            if libc.syncfs(ctypes.c_int(descriptor)):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        else:
            os.sync()
    finally:
        os.close(descriptor)


@cache
def boot_id() -> str:
    """A name of the time since the host was started; constant where the host does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
