"""A disk that is a file byte for byte (core.protocols.Block)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from gasang.core.direct import Direct
from gasang.core.errors import BadInputError, NotFoundError, PermissionDeniedError, StateError
from gasang.host.files import lock_file, open_file, read_at, sync, write_at
from gasang.host.holes import data_runs, punch_hole
from gasang.storage.bounds import check_range

SECTOR = 512
_ZEROES = bytes(1 << 20)


class Raw:
    """An open raw disk. A writer has the file to itself; readers share it."""

    def __init__(self, descriptor: int, size: int, name: str, *, read_only: bool = False) -> None:
        self._descriptor = descriptor
        self._punches = True
        self.size = size
        self.name = name
        self.read_only = read_only

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open a file or block device.

        Raises NotFoundError, PermissionDeniedError, BadInputError, or StateError if someone else writes to it.
        """
        try:
            descriptor = open_file(path, read_only=read_only)
        except FileNotFoundError as error:
            raise NotFoundError(f"disk {path}", "there is no such file", "check its path") from error
        except PermissionError as error:
            raise PermissionDeniedError(f"disk {path}", "it cannot be opened", "change its permissions") from error
        except OSError as error:
            raise BadInputError(f"disk {path}", f"it cannot be opened ({error.strerror})", "name a disk image") from error
        try:
            return cls(descriptor, _checked_size(descriptor, path, read_only), str(path), read_only=read_only)
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, by one system call as a rule; raise OSError outside the disk or if the host fails."""
        check_range(self.size, offset, length)
        return read_at(self._descriptor, length, offset)

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order. Raises OSError if the host fails."""
        return data_runs(self._descriptor, self.size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk, if it is read-only or if the host fails."""
        self._check_write(offset, len(data))
        write_at(self._descriptor, data, offset)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make the range read as zeroes, giving its space back where the host can; raise OSError as `write` does."""
        self._check_write(offset, length)
        if length and not self._punch(offset, length):
            for start in range(offset, offset + length, len(_ZEROES)):
                write_at(self._descriptor, memoryview(_ZEROES)[: min(len(_ZEROES), offset + length - start)], start)

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        if not self.read_only:
            sync(self._descriptor)

    def discard(self, offset: int, length: int) -> None:
        """Punch a hole where the host can; else the content stays. Raise OSError outside the disk or if it is read-only."""
        self._check_write(offset, length)
        if length:
            self._punch(offset, length)

    def direct(self) -> Direct:
        """The file itself."""
        return Direct((self._descriptor,), writable=not self.read_only)

    def close(self) -> None:
        """Close the file and give the lock back; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _check_write(self, offset: int, length: int) -> None:
        check_range(self.size, offset, length)
        if self.read_only:
            raise OSError(errno.EROFS, f"{self.name} is open for reading only")

    def _punch(self, offset: int, length: int) -> bool:
        """Whether the range is a hole now. A host that refuses once is not asked again."""
        if self._punches:
            with contextlib.suppress(OSError):
                punch_hole(self._descriptor, offset, length)
                return True
            self._punches = False
        return False


def _checked_size(descriptor: int, path: Path, read_only: bool) -> int:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise BadInputError(f"disk {path}", "it is a folder", "name a disk image")
    if not lock_file(descriptor, shared=read_only):
        raise StateError(f"disk {path}", "another machine has it open for writing", "stop that machine first")
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        raise BadInputError(f"disk {path}", f"it is no file with a size ({error.strerror})", "name a disk image") from error
    if size == 0 or size % SECTOR:
        raise BadInputError(f"disk {path}", f"its {size} bytes are no whole number of sectors", "name a raw disk image")
    return size
