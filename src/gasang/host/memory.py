"""Memory for guests: allocated when touched, nameable by other processes where the host can (memfd), anonymous elsewhere."""

from __future__ import annotations

import ctypes
import mmap
import os

from gasang.core.errors import OutOfSpaceError


class LazyMemory:
    """`size` bytes of zeroes that cost what is touched. `address` is where they lie in this process."""

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        try:
            self._map = _map_named(size, name)
        except (OSError, OverflowError, ValueError) as error:
            cause = f"the host cannot map them ({error})"
            raise OutOfSpaceError(f"{size} bytes of guest memory", cause, "ask for less with --memory") from error
        self._anchor = (ctypes.c_char * size).from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)
        self.view = memoryview(self._map)

    def close(self) -> None:
        """Unmap. Nothing may use the memory any more."""
        self.view.release()
        del self._anchor
        self._map.close()

    def touched(self) -> int:
        """Bytes the host has allocated, where it can tell; else 0."""
        return _resident(self.address, self.size)


def _map_named(size: int, name: str) -> mmap.mmap:
    if not hasattr(os, "memfd_create"):
        return mmap.mmap(-1, size)
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size, mmap.MAP_SHARED)
    finally:
        os.close(descriptor)


def _resident(address: int, size: int) -> int:
    """From /proc/self/smaps: the mapping's Rss."""
    try:
        with open("/proc/self/smaps", encoding="ascii") as file:
            inside = False
            for line in file:
                if "-" in line.split(" ", 1)[0]:
                    inside = int(line.split("-", 1)[0], 16) == address
                elif inside and line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
