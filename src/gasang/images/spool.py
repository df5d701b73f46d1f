"""A spool: bytes kept in a file without a name, written once, read back in slices. It vanishes with the process, however that ends."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from gasang.core.errors import GasangError, OutOfSpaceError, PermissionDeniedError

SMALL = 1 << 20
"""Slices up to this many bytes are read at once."""


class Spool:
    """An append-only file; slices stay readable until `close`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 (closed by close)
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def append(self, data: bytes) -> int:
        """Store `data`, return where it starts; raise OutOfSpaceError on a full disk."""
        start = self.size
        view = memoryview(data)
        try:
            while view:
                view = view[os.pwrite(self._file.fileno(), view, self.size + len(data) - len(view)) :]
        except OSError as fault:
            raise out_of_space(fault, self._directory) from fault
        self.size += len(data)
        return start

    def source(self, start: int, size: int) -> Callable[[], BinaryIO]:
        """What opens the slice, as an entry's data."""
        return lambda: self.open(start, size)

    def open(self, start: int, size: int) -> BinaryIO:
        """A stream of the slice."""
        if size <= SMALL:
            return io.BytesIO(os.pread(self._file.fileno(), size, start))
        return io.BufferedReader(_Slice(self._file.fileno(), start, size), SMALL)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


class _Slice(io.RawIOBase):
    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._size - self._position))
        data = os.pread(self._descriptor, count, self._start + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def out_of_space(fault: OSError, place: Path) -> GasangError:
    """The error to tell of a write at `place` that failed: OutOfSpaceError where the disk or the quota is full."""
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpaceError(f"directory {place}", "no space is left on its disk", "free some, or set GASANG_HOME to a larger disk")
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDeniedError(f"directory {place}", "it cannot be written to", "change its permissions, or set GASANG_HOME")
    return GasangError(f"directory {place}", f"writing failed ({fault.strerror})", "check its disk")
