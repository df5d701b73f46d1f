"""The disk of a machine that is there for longer than one run: an overlay (storage/overlay.py) whose layers are files in a folder.

`1`, `2`, … are named overlays of the same base, each over those before it; only the last is written. A `split` begins the next one, so a
forked process can share the others: it has them as hard links in a folder of its own, where its own layer comes. A process that is killed
leaves what its guest had flushed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gasang.core.errors import BadInputError, StateError
from gasang.core.protocols import Block
from gasang.host.files import lock_file, open_file, sync, write_at
from gasang.storage.overlay import CLUSTER, LAYERS_MAX, Overlay

_PAGE = 4096
_HOLE, _OWN = b"\0", b"\1"


class Chain(Overlay):
    """A disk of the base's size, kept in `folder`. It owns the base, and closes it."""

    folder: Path
    heir: Path | None
    """The folder that a process forked after the next `split` keeps its own layers in."""
    _identity: bytes
    _numbers: list[int]
    """What the layers' files are called in `folder`; a forked process has them there by links."""
    _unsynced: list[IO[bytes]]
    """Layers that are written no more, and not on stable storage yet."""

    @classmethod
    def open_folder(cls, base: Block, folder: Path, identity: bytes) -> Chain:
        """The disk in `folder`, made if absent. `identity` names the base; on an error the base stays open.

        Raises BadInputError for files that are no overlays of this base, StateError if another process has it open, OSError.
        """
        chain = cls.__new__(cls)
        chain.folder, chain.heir = folder, None
        chain._identity = identity
        chain._unsynced = []
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        numbers = _numbers(folder)
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(_opened(folder / str(number))) for number in numbers[:-1]]
            chain._numbers = numbers or [1]
            top = opened.enter_context(_top(folder / str(chain._numbers[-1])))
            chain._start(base, top, persistent=True)
            if not os.fstat(top.fileno()).st_size:
                chain._make(top.fileno(), identity)
            chain._files = [*files, top]
            for index, file in enumerate(chain._files):
                chain._load_layer(file, index + 1)
            chain._top = bytes((len(chain._files),))
            chain._unwritten = chain._top not in chain._map[:]
            opened.pop_all()
        return chain

    def _load_layer(self, file: IO[bytes], number: int) -> None:
        """Put a layer's map over those of the layers below it."""
        kept, self._map = self._map, type(self._map)(-1, len(self._map))
        try:
            self._load(file.fileno(), Path(str(file.name)), self._identity)
            for page in range(0, len(kept), _PAGE):
                stored = self._map[page : page + _PAGE]
                if _OWN in stored:
                    kept[page : page + _PAGE] = _over(stored, kept[page : page + _PAGE], number)
        finally:
            self._map.close()
            self._map = kept

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        for file in self._unsynced:
            sync(file.fileno())
        self._unsynced.clear()
        sync(self._descriptor)
        if self._dirty:
            self._write_map()
            sync(self._descriptor)

    def _write_map(self) -> None:
        """What the newest layer has, as its file says it."""
        own = bytes.maketrans(bytes(range(256)), bytes(_OWN[0] if value == self._top[0] else 0 for value in range(256)))
        for page in sorted(self._dirty):
            start = page * _PAGE
            write_at(self._descriptor, self._map[start : start + _PAGE].translate(own), self._map_offset + start)
        self._dirty.clear()

    def split(self) -> None:
        """What was written so far never changes from now on: what follows goes to a layer of its own; `heir` has what was.

        Raises OSError if the host fails.
        """
        if not self._unwritten and len(self._files) == LAYERS_MAX:
            self._join()
        elif not self._unwritten:
            self._write_map()
            self._unsynced.append(self._files[-1])
            self._begin_layer()
        if self.heir is not None:
            self.heir.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number, layer in enumerate(self._numbers[:-1], 1):
                os.link(self.folder / str(layer), self.heir / str(number))

    def _begin_layer(self) -> None:
        self._numbers.append(self._numbers[-1] + 1 if self._numbers else 1)
        top = _top(self.folder / str(self._numbers[-1]))
        self._make(top.fileno(), self._identity)
        self._files.append(top)
        self._descriptor = top.fileno()
        self._top = bytes((len(self._files),))
        self._unwritten = True

    def _join(self) -> None:
        """All layers become one, below a new one."""
        next_one = self._numbers[-1] + 1
        joined = self.folder / str(next_one)
        with open(joined, "w+b", buffering=0) as file:
            self.save(file.fileno(), self._identity)
            sync(file.fileno())
        whole = _opened(joined)
        for old in self._files:
            old.close()
        for number in _numbers(self.folder)[:-1]:
            (self.folder / str(number)).unlink()
        self._unsynced.clear()
        self._dirty.clear()
        for page in range(0, len(self._map), _PAGE):
            stored = self._map[page : page + _PAGE]
            if stored.strip(_HOLE):
                self._map[page : page + _PAGE] = bytes(1 if layer else 0 for layer in stored)
        self._files, self._numbers = [whole], [next_one]
        self._begin_layer()

    def layers(self) -> list[list[int]]:
        """Which files the layers are that are not written any more, the lowest first: inode, size and time of each."""
        found = (os.fstat(file.fileno()) for file in self._files[:-1])
        return [[info.st_ino, info.st_size, info.st_mtime_ns] for info in found]

    def written(self, above: int = 0) -> Iterator[tuple[int, int]]:
        """(offset, length) of what layers above so many of the lowest ones have, in order."""
        changed = re.compile(b"[\\x%02x-\\xff]+" % (above + 1))
        for run in changed.finditer(self._map):
            offset = run.start() * CLUSTER
            yield offset, min(run.end() * CLUSTER, self.size) - offset

    def renew(self) -> None:
        """In a process forked after `split`: the folder is `heir` from now on. Raises OSError if the host fails."""
        assert self._unwritten
        assert self.heir is not None
        self._files.pop().close()
        self.folder, self.heir, self._numbers = self.heir, None, list(range(1, len(self._files) + 1))
        self._begin_layer()


def frozen(base: Block, folder: Path, identity: bytes) -> Chain:
    """The disk of layers that a `split` has linked in a folder (`heir`); nothing is written to them. Raises as `open_folder` does."""
    (folder / str(max(_numbers(folder), default=0) + 1)).touch(mode=0o600)
    return Chain.open_folder(base, folder, identity)


def adopt(saved: Path, folder: Path) -> None:
    """Have the disk of `folder` begin with what Overlay.save put into the file `saved`, which is shared. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.link(saved, folder / "1")
    (folder / "2").touch(mode=0o600)


def _over(stored: bytes, below: bytes, number: int) -> bytes:
    """A piece of the map of those `below` with layer `number` where that has `stored` something: long integers do all bytes at once."""
    own = int.from_bytes(stored.replace(_OWN, b"\xff"), "little")
    layers = int.from_bytes(bytes((number,)) * len(stored), "little")
    return (own & layers | ~own & int.from_bytes(below, "little")).to_bytes(len(stored), "little")


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal() and len(path.name) < 10)


def _opened(path: Path, *, read_only: bool = True) -> IO[bytes]:
    try:
        return open(path, "rb" if read_only else "r+b", buffering=0, opener=lambda name, _: open_file(name, read_only=read_only))
    except OSError as error:
        raise BadInputError(f"layer {path}", f"it cannot be opened ({error.strerror})", "restore a snapshot of the machine") from error


def _top(path: Path) -> IO[bytes]:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    file = _opened(path, read_only=False)
    if not lock_file(file.fileno(), shared=False):
        file.close()
        raise StateError(f"disk {path.parent}", "another machine has it open", "stop that machine first")
    return file
