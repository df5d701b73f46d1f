"""Copy-on-write over a disk that never changes (core.protocols.Block).

What is written goes to a sparse file of the base's size; a map with one byte a cluster says where the file counts instead of the
base. Without a name the file is gone on close; with one it can be opened again.

A named file ends with the map and a header. `flush` puts the data on stable storage before the map that vouches for it, so after a
crash of the host every cluster reads as it was at some flush or later, never as zeroes that nobody wrote.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
import tempfile
from pathlib import Path
from typing import IO

from gasang.core.errors import BadInputError, PermissionDeniedError, StateError
from gasang.core.protocols import Block
from gasang.host.files import lock_file, open_file, punch_hole, read_at, sync, write_at
from gasang.storage.bounds import check_range

CLUSTER = 4096
"""Bytes copied from the base at the first write to a part of them: a page of the guest's cache, so that is rare."""

IDENTITY_MAX = 64
_PAGE = 4096
"""Clusters whose bytes of the map are written together."""
_MAGIC = b"gasang overlay\0\1"
_HEADER = struct.Struct("<16sQI64s")
_HEADER_SIZE = 512
_ZEROES = bytes(1 << 20)
_HOLE, _OWN = b"\0", b"\1"


class Overlay:
    """A disk of the base's size. It owns the base, and closes it."""

    def __init__(self, base: Block, directory: str | None = None) -> None:
        """One that is discarded on close, its file in `directory` (default: where temporary files go); raise OSError."""
        file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - lives as long as the disk
        self._start(base, file, persistent=False)
        os.ftruncate(self._descriptor, self.size)

    def _start(self, base: Block, file: IO[bytes], *, persistent: bool) -> None:
        self._base = base
        self._file = file
        self._descriptor = file.fileno()
        self._persistent = persistent
        self._punches = True
        self.size = base.size
        clusters = -(-self.size // CLUSTER)
        self._map = mmap.mmap(-1, max(clusters, 1))  # costs memory only where it is touched
        self._map_offset = clusters * CLUSTER
        self._dirty: set[int] = set()

    @classmethod
    def open(cls, base: Block, path: Path, identity: bytes = b"") -> Overlay:
        """One that stays in the file `path`, made if absent. `identity` (at most 64 bytes, such as a digest) names the base.

        Raises BadInputError for a file that is no overlay of this base, StateError if another machine has it open,
        PermissionDeniedError.
        """
        if len(identity) > IDENTITY_MAX:
            raise ValueError("an identity has at most 64 bytes")
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            file = os.fdopen(open_file(path, read_only=False), "r+b", buffering=0)
        except PermissionError as error:
            raise PermissionDeniedError(f"overlay {path}", "it cannot be opened for writing", "change its permissions") from error
        except OSError as error:
            raise BadInputError(f"overlay {path}", f"it cannot be opened ({error.strerror})", "check its path") from error
        try:
            if not lock_file(file.fileno(), shared=False):
                raise StateError(f"overlay {path}", "another machine has it open", "stop that machine first")
            overlay = cls.__new__(cls)
            overlay._start(base, file, persistent=True)
            overlay._load(path, identity)
        except BaseException:
            file.close()
            raise
        return overlay

    def _load(self, path: Path, identity: bytes) -> None:
        info = os.fstat(self._descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise BadInputError(f"overlay {path}", "it is no file", "choose another path")
        header = _HEADER.pack(_MAGIC, self.size, CLUSTER, identity).ljust(_HEADER_SIZE, b"\0")
        place = self._map_offset + len(self._map)
        if not info.st_size:
            os.ftruncate(self._descriptor, place + _HEADER_SIZE)
            write_at(self._descriptor, header, place)
            return
        if info.st_size < _HEADER_SIZE or read_at(self._descriptor, len(_MAGIC), info.st_size - _HEADER_SIZE) != _MAGIC:
            raise BadInputError(f"overlay {path}", "it is no overlay, or a damaged one", "delete it or choose another path")
        if info.st_size != place + _HEADER_SIZE or read_at(self._descriptor, _HEADER_SIZE, place) != header:
            raise BadInputError(f"overlay {path}", "it belongs to another base disk", "open it over the disk it was made for")
        for page in range(0, len(self._map), _PAGE):
            stored = read_at(self._descriptor, min(_PAGE, len(self._map) - page), self._map_offset + page)
            if stored.strip(_HOLE + _OWN):
                raise BadInputError(f"overlay {path}", "its map is damaged", "delete it: what was written to it is lost")
            if _OWN in stored:
                self._map[page : page + len(stored)] = stored

    def _runs(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """The range as (offset, length, own) pieces, neighbours of one kind joined."""
        runs: list[tuple[int, int, int]] = []
        end = offset + length
        last = -(-end // CLUSTER)
        while offset < end:
            cluster = offset // CLUSTER
            own = self._map[cluster]
            stop = self._map.find(_HOLE if own else _OWN, cluster, last)
            upto = end if stop < 0 else min(end, stop * CLUSTER)
            runs.append((offset, upto - offset, own))
            offset = upto
        return runs

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, by one call for each run of one origin; raise OSError outside the disk or if the host fails."""
        check_range(self.size, offset, length)
        parts = [read_at(self._descriptor, n, at) if own else self._base.read(at, n) for at, n, own in self._runs(offset, length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk or if the host fails (a full one among that)."""
        length = len(data)
        check_range(self.size, offset, length)
        if length:
            self._adopt_edges(offset, offset + length)
            write_at(self._descriptor, data, offset)
            self._own(offset, offset + length)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make the range read as zeroes, giving its space back where the host can; raise OSError as `write` does."""
        check_range(self.size, offset, length)
        if length:
            self._adopt_edges(offset, offset + length)
            if not self._punch(offset, length):
                for start in range(offset, offset + length, len(_ZEROES)):
                    write_at(self._descriptor, memoryview(_ZEROES)[: min(len(_ZEROES), offset + length - start)], start)
            self._own(offset, offset + length)

    def _adopt_edges(self, start: int, end: int) -> None:
        """Copy from the base what the first and the last cluster of a write hold beside it."""
        if start % CLUSTER:
            self._adopt(start // CLUSTER)
        if end % CLUSTER and end != self.size:
            self._adopt(end // CLUSTER)

    def _adopt(self, cluster: int) -> None:
        if not self._map[cluster]:
            start = cluster * CLUSTER
            end = min(start + CLUSTER, self.size)
            write_at(self._descriptor, self._base.read(start, end - start), start)
            self._own(start, end)

    def _own(self, start: int, end: int) -> None:
        first, last = start // CLUSTER, -(-end // CLUSTER)
        self._map[first:last] = _OWN * (last - first)
        if self._persistent:
            self._dirty.update(range(first // _PAGE, (last - 1) // _PAGE + 1))

    def flush(self) -> None:
        """Return once everything written is on stable storage, if it is to outlive the machine; else there is nothing to wait for."""
        if not self._persistent:
            return
        sync(self._descriptor)
        if self._dirty:
            for page in sorted(self._dirty):
                start = page * _PAGE
                write_at(self._descriptor, self._map[start : start + _PAGE], self._map_offset + start)
            sync(self._descriptor)
            self._dirty.clear()

    def discard(self, offset: int, length: int) -> None:
        """Give back the space of what was written there: it reads as zeroes then, the rest as before. Raise OSError outside the disk."""
        check_range(self.size, offset, length)
        for start, count, own in self._runs(offset, length):
            if own:
                self._punch(start, count)

    def _punch(self, offset: int, length: int) -> bool:
        """Whether the range is a hole now. A host that refuses once is not asked again."""
        if self._punches:
            with contextlib.suppress(OSError):
                punch_hole(self._descriptor, offset, length)
                return True
            self._punches = False
        return False

    def close(self) -> None:
        """Keep a named overlay, forget another, and close the base; a second time does nothing."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._map.close()
            self._file.close()
            self._base.close()
