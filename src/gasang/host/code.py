"""Memory that becomes code: written first, executable afterwards, never both (POSIX mmap and mprotect)."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

_FAILED = ctypes.c_void_p(-1).value


class CodeMemory:
    """`size` bytes at `address`, for as long as the process lives."""

    def __init__(self, libc: Any, address: int, size: int) -> None:
        self._libc = libc
        self.address = address
        self.size = size

    def seal(self, content: bytes | bytearray, executable: int) -> bool:
        """Fill it with `content`; the first `executable` bytes (whole pages) can then be run and the rest read, nothing written.

        False if the host forbids that: the memory is given back.
        """
        assert len(content) == self.size
        ctypes.memmove(self.address, (ctypes.c_char * self.size).from_buffer_copy(content), self.size)
        rest = self.size - executable
        done = self._protect(self.address, executable, mmap.PROT_READ | mmap.PROT_EXEC)
        done = done and (not rest or self._protect(self.address + executable, rest, mmap.PROT_READ))
        if not done:
            self._libc.munmap(ctypes.c_void_p(self.address), ctypes.c_size_t(self.size))
        return done

    def _protect(self, address: int, size: int, rights: int) -> bool:
        return int(self._libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), rights)) == 0


def reserve_code(size: int) -> CodeMemory | None:
    """Memory for code; None on a host where this is not the way, or that has no more."""
    if not hasattr(mmap, "PROT_EXEC"):
        return None
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    return None if address in (None, _FAILED) else CodeMemory(libc, address, size)
