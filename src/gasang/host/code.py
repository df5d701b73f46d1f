"""Memory that becomes code: written first, executable afterwards, or in two places; no place is ever both (POSIX mmap and mprotect)."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from functools import cache
from typing import Any

from gasang.core.errors import GasangError, OutOfSpaceError, PermissionDeniedError, UnsupportedError
from gasang.host.holes import punch_hole

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


class GrowingCode:
    """`size` bytes of code that grows while it is executed: the same memory at `writable`, where it is written, and at `executable`.

    Neither place is both. It costs what is touched. Raises OutOfSpaceError if the host has no more, PermissionDeniedError if it forbids to
    execute it, UnsupportedError where there is no memory that lies in two places.
    """

    def __init__(self, size: int, name: str) -> None:
        if not hasattr(os, "memfd_create"):
            raise UnsupportedError("code that grows", "this host has no memory that lies in two places", "use a Linux host")
        self.size = size
        self.writable = self.executable = 0
        lack = OutOfSpaceError(f"{size} bytes for compiled code", "the host cannot map them", "end other programs")
        try:
            self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        except OSError as error:
            raise lack from error
        try:
            os.ftruncate(self._descriptor, size)
            self.writable = self._map(mmap.PROT_READ | mmap.PROT_WRITE, lack)
            refusal = PermissionDeniedError("compiled code", "the host forbids to execute it", "allow this program executable memory")
            self.executable = self._map(mmap.PROT_READ | mmap.PROT_EXEC, refusal)
        except OSError as error:
            self.close()
            raise lack from error
        except GasangError:
            self.close()
            raise

    def _map(self, rights: int, otherwise: GasangError) -> int:
        address = _libc().mmap(None, self.size, rights, mmap.MAP_SHARED, self._descriptor, 0)
        if address in (None, _FAILED):
            raise otherwise
        return int(address)

    def release(self) -> None:
        """Give what was touched back to the host: it reads as zeroes; where the host cannot take it, it stays."""
        with contextlib.suppress(OSError):
            punch_hole(self._descriptor, 0, self.size)

    def close(self) -> None:
        """Give it back: nobody executes it, or will."""
        for address in (self.writable, self.executable):
            if address:
                _libc().munmap(address, self.size)
        os.close(self._descriptor)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc
