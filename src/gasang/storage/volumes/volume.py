"""A disk volume: a disk in a folder of its own, thin, with snapshots and clones that cost a new layer each (record.py, layers.py).

Whoever has it open for writing has it alone, and is the one to change it: the machine it is attached to, else whoever was asked. Files that
no record names, of a change that was broken off, are removed by the next one to write.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from gasang.core.errors import OutOfSpaceError, StateError, UsageError
from gasang.core.units import format_size
from gasang.host.files import NO_LINKS, lock_file
from gasang.storage.images.image import Image, Resizable, Sealable
from gasang.storage.made import FULL
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import check_size, kept_of, read_record, write_record
from gasang.storage.volumes.record import NAME, Kept, Record, keeper_of, new_key

LOCK: Final = "lock"
EXT4: Final = "ext4"
_LONG: Final = 16
"""Layers on one another from which on those that nothing needs by themselves are joined after a backup."""
FAR_TOO_LONG: Final = 48
"""The same before anything that makes one more."""


class Volume:
    """An open volume, as a disk (core.protocols.Block). Its methods may be called from any thread."""

    def __init__(self, folder: Path, record: Record, lock: int, *, read_only: bool) -> None:
        self.folder = folder
        self.record = record
        self.read_only = read_only
        self._lock = lock
        self._acts = threading.RLock()
        """Held by who changes the record; always taken before the other."""
        self._busy = threading.RLock()
        """Held by who uses the image."""
        self._image: Image = layers.open_chain(folder, record, record.top, read_only=read_only)
        self.size = self._image.size

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False) -> Self:
        """Have it alone, or with other readers. Raises StateError where another has it, NotFoundError, BadInputError, OSError."""
        subject = f"volume {folder.name}"
        read_record(folder)
        descriptor = lock_of(folder)
        try:
            if not lock_file(descriptor, shared=read_only):
                raise StateError(subject, "it is in use by another machine", "stop that machine first")
            record = read_record(folder)
            if not read_only:
                sweep(folder, record)
            return cls(folder, record, descriptor, read_only=read_only)
        except BaseException:
            os.close(descriptor)
            raise

    # As a disk.

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises OSError outside the disk or if the host fails, BadInputError where a layer is damaged."""
        with self._busy:
            return self._image.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`. Raises as `read` does."""
        with self._busy:
            self._image.write(offset, data)

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        with self._busy:
            self._image.flush()

    def discard(self, offset: int, length: int) -> None:
        """The range reads as zeroes from then on, and takes no room."""
        with self._busy:
            self._image.discard(offset, length)

    def close(self) -> None:
        """Keep what was written, and let others have it; a second time does nothing."""
        with self._busy:
            lock, self._lock = self._lock, -1
            try:
                self._image.close()
            finally:
                if lock >= 0:
                    os.close(lock)

    # As a volume.

    def freeze(self, change: Callable[[Record, str], Record] = lambda record, layer: record) -> str:
        """The layer that has the present state, and is not written any more; `change` is what else the record is to say, given it.

        Raises StateError where too many snapshots stand on one another, OutOfSpaceError, OSError; all is as it was then.
        """
        with self._acts:
            self._shorten(FAR_TOO_LONG)
            with self._busy:
                self._image.flush()
                top = self.record.layers[self.record.top]
                if top.below and layers.is_untouched(self._image):
                    self._keep(change(self.record, top.below))
                    return top.below
                former = self.record.top
                self._rise(change(self.record.on(former, new_key()), former), self._image.size)
                return former

    def _rise(self, record: Record, size: int) -> None:
        """Go on with the new top of `record`, or as before if that cannot be made."""
        former = self.record.top
        try:
            made = layers.make_layer(self.folder, record, record.top, size)
            self._keep(record, made)
        finally:
            if self.record.top != former:
                self._image = self._risen(former)
                self.size = self._image.size

    def _risen(self, former: str) -> Image:
        """The new top, on the former one if it stands on that: the layers below stay open."""
        if self.record.layers[self.record.top].below == former and isinstance(self._image, Sealable):
            self._image.seal()
            return layers.stack(self.folder, self.record, self._image)
        self._image.close()
        return layers.open_chain(self.folder, self.record, self.record.top, read_only=False)

    def _keep(self, record: Record, made: Path | None = None) -> None:
        if record != self.record:
            try:
                write_record(self.folder, record, made)
            except OSError as error:
                self.record = read_record(self.folder)  # it may have been replaced, and only that not be stable
                if error.errno in FULL:
                    raise OutOfSpaceError(self._subject, "the host's disk is full", "free some space there") from error
                raise
            self.record = record

    @property
    def _subject(self) -> str:
        return f"volume {self.folder.name}"

    def snapshot(self, name: str) -> Kept:
        """Keep the present state. Raises UsageError for a name that is none, StateError for one that is taken, and as `freeze`."""
        if not NAME.fullmatch(name):
            raise UsageError(f"snapshot {name[:40]!r}", "it is no name", "use letters, digits, '_', '.' and '-'")
        if name in self.record.snapshots:
            raise StateError(f"snapshot {name}", f"{self._subject} has one of that name", "take another name, or delete it first")
        made = Kept("", self.size, present_time())

        def change(record: Record, layer: str) -> Record:
            return replace(record, snapshots={**record.snapshots, name: replace(made, layer=layer)})

        self.freeze(change)
        return self.record.snapshots[name]

    def forget(self, name: str) -> None:
        """Remove a snapshot, and what it alone needs. Raises NotFoundError, StateError for one that a machine's snapshot needs."""
        kept_of(self.record, name, self._subject)
        if keeper_of(name):
            hint = "remove that one: gasang snapshot rm MACHINE NAME"
            raise StateError(f"snapshot {name}", "it belongs to the snapshot of a machine", hint)
        self._drop(name)

    def release(self, name: str) -> None:
        """Remove one that the snapshot of a machine needed, if it is there. Raises OSError."""
        if keeper_of(name) and name in self.record.snapshots:
            self._drop(name)

    def _drop(self, name: str) -> None:
        with self._acts, self._busy:
            self._keep(replace(self.record, snapshots={n: kept for n, kept in self.record.snapshots.items() if n != name}).reachable())
            sweep(self.folder, self.record)

    def apply(self, name: str) -> None:
        """Be what it was at a snapshot; what was written since is gone. Raises NotFoundError, OSError."""
        kept = kept_of(self.record, name, self._subject)
        with self._acts, self._busy:
            self._rise(self.record.on(kept.layer, new_key()).reachable(), kept.size)
            sweep(self.folder, self.record)

    def resize(self, size: int) -> None:
        """Have `size` bytes, which are more than now. Raises UsageError, OSError."""
        size = check_size(size)
        with self._acts, self._busy:
            if size < self.size:
                cause = f"{self._subject} has {format_size(self.size)}, and does not become smaller"
                raise UsageError(f"size {format_size(size)}", cause, "make a smaller one, and copy its files")
            assert isinstance(self._image, Resizable)
            self._image.resize(size)
            self._image.flush()
            self.size = self._image.size

    def note_base(self, place: str, layer: str) -> None:
        """Remember that backups in `place` have what is up to `layer`; layers that this makes needless are joined, while I/O goes on."""
        with self._acts:
            if layer in self.record.layers and layer != self.record.top:
                self._keep(self.record.with_base(place, layer))
            self._shorten(_LONG)

    def has(self, file_system: str) -> None:
        """Remember which file system is on it: what was written there has one."""
        with self._acts, self._busy:
            self._keep(replace(self.record, file_system=file_system))

    def format(self, label: str) -> bool:
        """Make an ext4 file system on a volume that never had one; whether that was done. Raises OutOfSpaceError, OSError."""
        from gasang.storage.ext4 import write_ext4
        from gasang.storage.images.conversion import convert
        from gasang.storage.images.table import open_image

        if self.record.file_system or self.read_only:
            return False
        with self._acts, self._busy:
            if not any(True for _ in self._image.data()):
                path = self.folder / "new.img"
                try:
                    short = label.encode()[:16].decode("utf-8", "ignore")
                    write_ext4(path, (), self.size, label=short, uuid=uuid4(), time=int(time.time()))
                    with contextlib.closing(open_image(path, read_only=True, form="raw")) as made:
                        convert(made, self._image)
                finally:
                    path.unlink(missing_ok=True)
                self._image.flush()
            self._keep(replace(self.record, file_system=EXT4))
        return True

    def _shorten(self, most: int) -> None:
        """Join layers that nothing needs by themselves, once so many stand on one another; readers of the former files keep them."""
        if sum(1 for _ in self.record.chain(self.record.top)) < most:
            return
        while (found := self.record.spare()) is not None:
            lower, upper = found
            gone = self.folder / self.record.file(lower)
            layers.join(self.folder, self.record, lower, upper)
            rest = {key: layer for key, layer in self.record.layers.items() if key != lower}
            self._keep(replace(self.record, layers={**rest, upper: self.record.layers[lower]}))
            gone.unlink(missing_ok=True)


def present_time() -> str:
    """As records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def lock_of(folder: Path) -> int:
    """A descriptor of what is locked by who has the volume."""
    return os.open(folder / LOCK, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | NO_LINKS, 0o600)


def sweep(folder: Path, record: Record) -> None:
    """Remove files that a broken-off change has left."""
    known = {record.file(key) for key in record.layers}
    for path in folder.iterdir():
        if layers.is_layer(path.name) and path.name not in known:
            path.unlink(missing_ok=True)
