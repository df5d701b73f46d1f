"""A disk that is a file byte for byte (core.protocols.Block)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from gasang.core.errors import BadInputError, NotFoundError, PermissionDeniedError, StateError

SECTOR = 512


class Raw:
    """An open raw disk. A writer has the file to itself; readers share it."""

    def __init__(self, descriptor: int, size: int, name: str) -> None:
        self._descriptor = descriptor
        self.size = size
        self.name = name

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Raw:
        """Open a file or device. Raises NotFoundError, PermissionDeniedError, BadInputError, or StateError if another writes to it."""
        try:
            descriptor = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError(f"disk {path}", "there is no such file", "check its path") from error
        except PermissionError as error:
            raise PermissionDeniedError(f"disk {path}", "it cannot be opened", "change its permissions") from error
        except OSError as error:
            raise BadInputError(f"disk {path}", f"it cannot be opened ({error.strerror})", "name a disk image") from error
        try:
            return cls(descriptor, _checked_size(descriptor, path, read_only), str(path))
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise OSError if the host fails."""
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, f"{self.name} has become shorter")
            data += more
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError if the host fails."""
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[done:], offset + done

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        os.fsync(self._descriptor)

    def discard(self, offset: int, length: int) -> None:
        """Punch a hole where the host can; else the content stays."""
        from gasang.host.files import punch_hole

        with contextlib.suppress(OSError):
            punch_hole(self._descriptor, offset, length)

    def close(self) -> None:
        """Close the file and give the lock back."""
        os.close(self._descriptor)


def _checked_size(descriptor: int, path: Path, read_only: bool) -> int:
    from gasang.host.files import lock_file

    if not lock_file(descriptor, shared=read_only):
        raise StateError(f"disk {path}", "another machine has it open for writing", "stop that machine first")
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise BadInputError(f"disk {path}", "it is a folder", "name a disk image")
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size == 0 or size % SECTOR:
        raise BadInputError(f"disk {path}", f"its {size} bytes are no whole number of sectors", "name a raw disk image")
    return size
