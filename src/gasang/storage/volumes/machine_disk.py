"""A volume as the disk of a machine: kept with the machine's memory, taken back with it, and forked with it.

What a snapshot of the machine needs is a snapshot of the volume whose name says whose it is (record.py, `held_name`).
A twin has a clone of its own, which is made ready before the fork: its folder has links to all layers. In the fork the top is left behind
empty, so that what is below is all that there is, and the twin's process goes on with the layers that it has open, under a top of its own.

While a machine stands still nothing is synced: a new top was made ready before, and is put on the former one in memory alone. What that had
not written yet is on stable storage, and only then the new one in the record, when the machine goes on; its requests to the volume wait for
it, and so does the twin. So a power cut finds the volume before or after, and nobody was told that anything is kept which was not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, cast

from gasang.core.errors import StateError
from gasang.core.protocols import Block
from gasang.host.files import lock_file
from gasang.storage.images.image import Image, Sealable
from gasang.storage.images.qcow2.disk import Qcow2
from gasang.storage.images.raw import RawImage
from gasang.storage.images.store import File
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import kept_of, read_record, write_record
from gasang.storage.volumes.record import Kept, Record, new_key
from gasang.storage.volumes.volume import FAR_TOO_LONG, Volume, lock_of, present_time, sweep

BEFORE: Final = "before-restore"
"""How snapshots begin that keep what a volume had when its machine went back to a snapshot."""


class Coming(NamedTuple):
    """A new top that is ready to be one: the record with it, and its file, open, without what is below."""

    record: Record
    image: Qcow2


class Left(NamedTuple):
    """What was the volume until it was left: its record, its image, and the pipe on which a twin hears that all of that is kept."""

    record: Record
    image: Image
    hearing: int
    telling: int

    def wait(self, subject: str) -> None:
        """In the twin: until the parent has kept it. Raises StateError where it has not."""
        os.close(self.telling)
        with open(self.hearing, "rb") as word:
            if word.read(1) != b"+":
                raise StateError(subject, "what the machine had not written yet could not be kept", "try again")


class MachineDisk(Volume):
    """An open volume that a machine has."""

    _coming: Coming | None = None
    _left: Left | None = None

    heir: Path | None = None
    """The folder of the clone that a process forked after the next `split` goes on with."""

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Nobody else changes the volume in the block; as a disk it is used as ever."""
        with self._acts:
            yield

    # Left behind at one moment.

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """As `steady`; `leave` in the block takes no time, and what it left is kept when the block ends. Raises GasangError, OSError then.

        A process that is forked after `leave` does not end the block.
        """
        with self._acts:
            if not self.read_only:
                self._shorten(FAR_TOO_LONG)
                with self._busy:
                    self._image.flush()
                    if not layers.is_untouched(self._image):
                        self._coming = self._prepared()
            try:
                yield
            finally:
                self._settle()

    def _prepared(self) -> Coming:
        """A top that nothing names yet, on the present one."""
        record = self.record.on(self.record.top, new_key())
        made = layers.make_layer(self.folder, record, record.top, self.size)
        layers.sync_file(made)
        return Coming(record, layers.alone(made, read_only=False))

    def leave(self) -> None:
        """Have nothing in the top, in a `leaving` block while nobody writes. Raises as `freeze` does; it is as it was then."""
        coming = self._coming
        if coming is None or layers.is_untouched(self._image):
            self.freeze()
            return
        self._busy.acquire()  # until `_settle`
        self._coming = None
        self._left = Left(self.record, self._image, *os.pipe2(os.O_CLOEXEC))
        coming.image.backing = cast("Block", self._image)
        self._image.read_only = True
        self.record, self._image = coming.record, cast("Image", coming.image)

    def _settle(self) -> None:
        """What `leave` left behind is kept, and the new top is in the record; or all is as it was. Raises OutOfSpaceError, OSError."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.image.close()
            (self.folder / coming.record.file(coming.record.top)).unlink(missing_ok=True)
        left, self._left = self._left, None
        if left is None:
            return
        wanted, self.record = self.record, left.record
        try:
            cast("Sealable", left.image).seal()
            self._keep(wanted)
            os.write(left.telling, b"+")
        finally:
            if self.record.top != wanted.top:
                self._go_on(left, wanted)
            os.close(left.telling)
            os.close(left.hearing)
            self._busy.release()

    def _go_on(self, left: Left, wanted: Record) -> None:
        """Be what was left after all; nothing was written since."""
        cast("Qcow2", self._image).store.close()
        (self.folder / wanted.file(wanted.top)).unlink(missing_ok=True)
        self._image = left.image
        self._image.read_only = False
        if isinstance(store := cast("Qcow2 | RawImage", self._image).store, File):
            store.unseal()

    # Kept with its machine.

    def hold(self, name: str) -> None:
        """Keep, as `name` (record.held_name), what the last `freeze` or `leave` left, in their block. Raises OutOfSpaceError, OSError."""
        self._settle()
        made = Kept(self.record.layers[self.record.top].below, self.size, present_time())
        self._keep(replace(self.record, snapshots={**self.record.snapshots, name: made}))

    def is_at(self, name: str) -> bool:
        """Whether its state is that of a snapshot."""
        kept = self.record.snapshots.get(name)
        below = self.record.layers[self.record.top].below
        return kept is not None and (below, self.size) == (kept.layer, kept.size) and layers.is_untouched(self._image)

    def go_back(self, name: str, *, keep: bool) -> str:
        """Be what it was at a snapshot; what the present state is called then, "" where another snapshot has it or it is not to be kept.

        Raises NotFoundError, OutOfSpaceError, OSError; it is as it was then.
        """
        kept_of(self.record, name, self._subject)
        with self._acts:
            if self.is_at(name):
                return ""
            present = ""
            if keep and not any(self.is_at(other) for other in self.record.snapshots):
                stamp = present_time().replace("-", "").replace(":", "")
                names = (f"{BEFORE}-{stamp}{f'-{number}' if number else ''}" for number in range(len(self.record.snapshots) + 1))
                present = next(each for each in names if each not in self.record.snapshots)
                self.snapshot(present)
            try:
                self.apply(name)
            except BaseException:
                if present:
                    self.forget(present)
                raise
        return present

    # Forked with its machine.

    def split(self) -> None:
        """Have nothing in the top, so that a forked process has all that there is below; `heir` has that, too.

        In a `leaving` block. Raises StateError where the volume was changed since `heir` was made, OSError; it goes on as it was then.
        """
        if self.read_only:
            return
        assert self.heir is not None
        self.leave()
        layer = self.record.layers[self.record.top].below
        if any(not (self.heir / self.record.file(key)).exists() for key in self.record.chain(layer)):
            raise StateError(self._subject, "it was changed while its clone for a twin was being made", "try again")

    def renew(self) -> None:
        """In a process forked after `split`: the volume is `heir` from now on. Raises GasangError, OSError."""
        self._acts, self._busy = threading.RLock(), threading.RLock()
        if self.read_only:
            return
        left, self._left, self._coming = self._left, None, None
        if left is not None:
            left.wait(self._subject)
        assert self.heir is not None
        assert isinstance(self._image, Qcow2)
        assert self._image.backing is not None
        os.close(self._lock)  # the parent has it on
        self._lock = -1
        self.folder, self.heir = self.heir, None
        self._lock = lock_of(self.folder)
        if not lock_file(self._lock, shared=False):
            raise StateError(self._subject, "another machine has it open", "try again")
        self.record = self._inherited(self.record.layers[self.record.top].below)
        self._image.store.close()
        self._image = layers.stack(self.folder, self.record, cast("Image", self._image.backing))
        sweep(self.folder, self.record)

    def _inherited(self, layer: str) -> Record:
        """The record of the clone, whose top stands on `layer`; it was made to stand on what the volume had a moment before."""
        made = read_record(self.folder)
        if made.layers[made.top].below == layer:
            return made
        below = {key: self.record.layers[key] for key in self.record.chain(layer)}
        fresh = replace(made, top=layer, layers=below).on(layer, new_key())
        write_record(self.folder, fresh, layers.make_layer(self.folder, fresh, fresh.top, self.size))
        return fresh
