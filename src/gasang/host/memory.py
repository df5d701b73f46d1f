"""Memory for guests: allocated when touched, nameable by other processes where the host can (memfd), anonymous elsewhere."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

from gasang.core.errors import OutOfSpaceError

_LARGE = 1 << 18
"""Bytes from which it pays to have the host do the copying."""


class LazyMemory:
    """`size` bytes of zeroes that cost what is touched. `address` is where they lie in this process."""

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        try:
            self._map, self._descriptor = _map_named(size, name)
        except (OSError, OverflowError, ValueError) as error:
            cause = f"the host cannot map them ({error})"
            raise OutOfSpaceError(f"{size} bytes of guest memory", cause, "ask for less with --memory") from error
        self._anchor = (ctypes.c_char * size).from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)
        self.view = memoryview(self._map)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store `data` at `offset`; all of it lies inside."""
        if self._descriptor < 0 or len(data) < _LARGE:
            self.view[offset : offset + len(data)] = data
            return
        # The host then need not make pages of zeroes first, and does not stumble over every one of them.
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[done:], offset + done

    def close(self) -> None:
        """Unmap. Nothing may use the memory any more."""
        self.view.release()
        del self._anchor
        self._map.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def release(self) -> None:
        """Give what was touched back to the host; it reads as zeroes again (where the host cannot, it stays as it is)."""
        if hasattr(mmap, "MADV_REMOVE"):
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_REMOVE)

    def touched(self) -> int:
        """Bytes the host has allocated, where it can tell; else 0."""
        return _resident(self.address, self.size)


def _map_named(size: int, name: str) -> tuple[mmap.mmap, int]:
    """The memory, and its descriptor where it has one, else -1."""
    if not hasattr(os, "memfd_create"):
        return mmap.mmap(-1, size), -1
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size, mmap.MAP_SHARED), descriptor
    except BaseException:
        os.close(descriptor)
        raise


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


def drop_code_pages(library: str) -> None:
    """Let go of a loaded library's code in memory; what runs again comes back from the file.

    Only where /proc tells which pages those are.
    """
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            ranges = [line.split()[0] for line in file if library in line and " r-xp " in line]
    except OSError:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for text in ranges:
        start, end = (int(part, 16) for part in text.split("-"))
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def trim_heap() -> None:
    """Give the host back what the C library keeps of memory that was freed; where it cannot, nothing happens.

    A thread's large work leaves the library holding several times of what is in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
