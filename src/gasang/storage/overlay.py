"""Copy-on-write over a disk that never changes (core.protocols.Block).

What is written goes to a sparse file of the base's size, a layer; a map with one byte a cluster says which layer counts instead of the
base (0). Without a name the file is gone on close; with one it can be opened again. A nameless overlay may begin with the content of a
saved one (`over`), and may be split: what was written so far never changes again then, so that a forked process can share it.

A named file ends with the map and a header. `flush` puts the data on stable storage before the map that vouches for it, so after a
crash of the host every cluster reads as it was at some flush or later, never as zeroes that nobody wrote.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gasang.core.direct import Direct, DirectBlock
from gasang.core.errors import BadInputError, PermissionDeniedError, StateError
from gasang.core.protocols import Block
from gasang.host.files import lock_file, open_file, read_at, sync, write_at
from gasang.host.holes import data_runs, punch_hole
from gasang.storage.bounds import check_range

CLUSTER = 4096
"""Bytes copied from the base at the first write to a part of them: a page of the guest's cache, so that is rare."""

IDENTITY_MAX = 64
_PAGE = 4096
"""Clusters whose bytes of the map are written together."""
_MAGIC = b"gasang overlay\0\1"
_HEADER = struct.Struct("<16sQI64s")
_HEADER_SIZE = 512
_STEP = 1 << 20
_ZEROES = bytes(_STEP)
_HOLE, _OWN = b"\0", b"\1"
_SAME = re.compile(rb"(.)\1*", re.DOTALL)
_WRITTEN = re.compile(rb"[^\0]+")
LAYERS_MAX = 64
"""Layers of a disk that is split again and again: then they become one."""


class Overlay:
    """A disk of the base's size. It owns the base, and closes it."""

    def __init__(self, base: Block, directory: str | None = None) -> None:
        """One that is discarded on close, its file in `directory` (default: where temporary files go); raise OSError."""
        self._directory = directory
        self._start(base, self._nameless(base.size), persistent=False)

    def _start(self, base: Block, file: IO[bytes], *, persistent: bool) -> None:
        self.base = base
        self._files = [file]
        self._descriptor = file.fileno()
        self._top = _OWN
        self._unwritten = True
        self._persistent = persistent
        self._punches = True
        self.size = base.size
        clusters = -(-self.size // CLUSTER)
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        self._map = mmap.mmap(-1, max(clusters, 1), **private)  # costs memory only where it is touched; a fork has its own
        self._map_offset = clusters * CLUSTER
        self._dirty: set[int] = set()

    def _nameless(self, size: int) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - lives as long as the layer
        os.ftruncate(file.fileno(), size)
        return file

    @classmethod
    def over(cls, base: Block, path: Path, identity: bytes, directory: str | None = None) -> Overlay:
        """One that is discarded on close and begins with what `save` put into the file `path`, which is never changed.

        Raises BadInputError for a file that is no overlay of this base, OSError.
        """
        overlay = cls(base, directory)
        saved = os.fdopen(open_file(path, read_only=True), "rb", buffering=0)
        overlay._files.insert(0, saved)
        overlay._top = b"\2"
        try:
            overlay._load(saved.fileno(), path, identity)
        except BaseException:
            overlay.close()
            raise
        return overlay

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
            if not os.fstat(file.fileno()).st_size:
                overlay._make(file.fileno(), identity)
            overlay._load(file.fileno(), path, identity)
        except BaseException:
            file.close()
            raise
        return overlay

    def _make(self, descriptor: int, identity: bytes) -> None:
        """The end of a new named file."""
        place = self._map_offset + len(self._map)
        os.ftruncate(descriptor, place + _HEADER_SIZE)
        write_at(descriptor, self._header(identity), place)

    def _header(self, identity: bytes) -> bytes:
        return _HEADER.pack(_MAGIC, self.size, CLUSTER, identity).ljust(_HEADER_SIZE, b"\0")

    def _load(self, descriptor: int, path: Path, identity: bytes) -> None:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise BadInputError(f"overlay {path}", "it is no file", "choose another path")
        place = self._map_offset + len(self._map)
        if info.st_size < _HEADER_SIZE or read_at(descriptor, len(_MAGIC), info.st_size - _HEADER_SIZE) != _MAGIC:
            raise BadInputError(f"overlay {path}", "it is no overlay, or a damaged one", "delete it or choose another path")
        if info.st_size != place + _HEADER_SIZE or read_at(descriptor, _HEADER_SIZE, place) != self._header(identity):
            raise BadInputError(f"overlay {path}", "it belongs to another base disk", "open it over the disk it was made for")
        for page in self._pages_of_map(descriptor, place):
            stored = read_at(descriptor, min(_PAGE, len(self._map) - page), self._map_offset + page)
            if stored.strip(_HOLE + _OWN):
                raise BadInputError(f"overlay {path}", "its map is damaged", "delete it: what was written to it is lost")
            if _OWN in stored:
                self._map[page : page + len(stored)] = stored

    def _pages_of_map(self, descriptor: int, end: int) -> Iterator[int]:
        """Where the pieces of a stored map begin in it that are no holes: most of a map is, and a restore has no time to read it."""
        done = 0
        for start, length in data_runs(descriptor, end):
            first = max(start - self._map_offset, done) // _PAGE * _PAGE
            done = max(start + length - self._map_offset, done)
            yield from range(max(first, 0), done, _PAGE)

    def _runs(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """The range as (offset, length, layer) pieces, neighbours of one layer joined."""
        runs: list[tuple[int, int, int]] = []
        end = offset + length
        if not length:
            return runs
        for same in _SAME.finditer(self._map, offset // CLUSTER, -(-end // CLUSTER)):
            upto = min(end, same.end() * CLUSTER)
            runs.append((offset, upto - offset, self._map[same.start()]))
            offset = upto
        return runs

    def _part(self, offset: int, length: int, layer: int) -> bytes:
        return read_at(self._files[layer - 1].fileno(), length, offset) if layer else self.base.read(offset, length)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, by one call for each run of one origin; raise OSError outside the disk or if the host fails."""
        check_range(self.size, offset, length)
        parts = [self._part(*run) for run in self._runs(offset, length)]
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
        """Copy from below what the first and the last cluster of a write hold beside it."""
        if start % CLUSTER:
            self._adopt(start // CLUSTER)
        if end % CLUSTER and end != self.size:
            self._adopt(end // CLUSTER)

    def _adopt(self, cluster: int) -> None:
        layer = self._map[cluster]
        if layer != self._top[0]:
            start = cluster * CLUSTER
            end = min(start + CLUSTER, self.size)
            write_at(self._descriptor, self._part(start, end - start, layer), start)
            self._own(start, end)

    def _own(self, start: int, end: int) -> None:
        first, last = start // CLUSTER, -(-end // CLUSTER)
        self._map[first:last] = self._top * (last - first)
        self._unwritten = False
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
        for start, count, layer in self._runs(offset, length):
            if layer == self._top[0]:
                self._punch(start, count)

    def _punch(self, offset: int, length: int) -> bool:
        """Whether the range is a hole now. A host that refuses once is not asked again."""
        if self._punches:
            with contextlib.suppress(OSError):
                punch_hole(self._descriptor, offset, length)
                return True
            self._punches = False
        return False

    def direct(self) -> Direct | None:
        """The base's file and the layers' over it; a named overlay notes what changes in its map, and is asked for that."""
        base = self.base.direct() if isinstance(self.base, DirectBlock) else None
        if base is None or base.clusters:
            return None
        anchor = ctypes.c_char.from_buffer(self._map)  # let go of at once: the map stays where it is until it is closed
        files = base.files[base.top], *(file.fileno() for file in self._files)
        return Direct(files, self._top[0], ctypes.addressof(anchor), may_own=not self._persistent, own=self._owned)

    def _owned(self) -> None:
        self._unwritten = False

    def close(self) -> None:
        """Keep a named overlay, forget another, and close the base; a second time does nothing."""
        if self._files[-1].closed:
            return
        try:
            self.flush()
        finally:
            self._map.close()
            for file in self._files:
                file.close()
            self.base.close()

    # Sharing what was written.

    def split(self) -> None:
        """What was written so far never changes from now on: what follows goes to a layer of its own. A named overlay cannot.

        Raises OSError if the host fails.
        """
        assert not self._persistent
        if self._unwritten:
            return
        if len(self._files) == LAYERS_MAX:
            self._merge()
        self._begin_layer()

    def renew(self) -> None:
        """In a process forked after `split`: what is written goes to a file of this process's own. Raises OSError if the host fails."""
        assert self._unwritten
        self._files.pop().close()
        self._begin_layer()

    def _begin_layer(self) -> None:
        self._files.append(self._nameless(self.size))
        self._descriptor = self._files[-1].fileno()
        self._top = bytes((len(self._files),))
        self._unwritten = True

    def _merge(self) -> None:
        file = self._nameless(self.size)
        for run in self._copy_to(file.fileno()):
            self._map[run.start() : run.end()] = _OWN * (run.end() - run.start())
        for old in self._files:
            old.close()
        self._files = [file]

    def _copy_to(self, descriptor: int) -> list[re.Match[bytes]]:
        """Copy every layer's clusters to where they are on the disk: the runs of them."""
        written = list(_WRITTEN.finditer(self._map))
        for run in written:
            end = min(run.end() * CLUSTER, self.size)
            for offset in range(run.start() * CLUSTER, end, _STEP):
                write_at(descriptor, self.read(offset, min(_STEP, end - offset)), offset)
        return written

    def save(self, descriptor: int, identity: bytes) -> None:
        """Make an empty file a named overlay of the same base with the present content. Raises OSError if the host fails."""
        assert len(identity) <= IDENTITY_MAX
        self._make(descriptor, identity)
        for run in self._copy_to(descriptor):
            for start in range(run.start(), run.end(), _PAGE):
                write_at(descriptor, _OWN * min(_PAGE, run.end() - start), self._map_offset + start)
