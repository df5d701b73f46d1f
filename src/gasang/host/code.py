"""Memory that becomes code: written first, executable afterwards, never both (POSIX mmap and mprotect)."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Any

from gasang.core.errors import OutOfSpaceError, PermissionDeniedError

_FAILED = ctypes.c_void_p(-1).value


def can_make_code() -> bool:
    """Whether this host has memory that becomes code in this way."""
    return hasattr(mmap, "PROT_EXEC")


class CodeMemory:
    """`size` bytes at `address`, for as long as the process lives. Raises OutOfSpaceError if the host has no more."""

    def __init__(self, size: int) -> None:
        self.size = size
        address = _libc().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if address in (None, _FAILED):
            raise OutOfSpaceError(f"{size} bytes for compiled code", "the host cannot map them", "end other programs")
        self.address = int(address)

    def seal(self, content: bytes | bytearray, executable: int) -> None:
        """Fill it with `content`; the first `executable` bytes (whole pages) can then be run and the rest read, nothing written.

        Raises PermissionDeniedError if the host forbids that.
        """
        assert len(content) == self.size
        ctypes.memmove(self.address, bytes(content), self.size)
        parts = ((0, executable, mmap.PROT_READ | mmap.PROT_EXEC), (executable, self.size - executable, mmap.PROT_READ))
        if any(_libc().mprotect(self.address + start, size, rights) for start, size, rights in parts if size):
            _libc().munmap(self.address, self.size)
            raise PermissionDeniedError("compiled code", "the host forbids to execute it", "allow this program executable memory")

    def close(self) -> None:
        """Give it back: nobody executes it, or will."""
        _libc().munmap(self.address, self.size)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc
