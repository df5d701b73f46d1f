"""A volume as the disk of a machine: kept with the machine's memory, taken back with it, and forked with it.

What a snapshot of the machine needs is a snapshot of the volume whose name says whose it is (record.py, `held_name`).
A twin has a clone of its own, which is made ready before the fork: its folder has links to all layers. In the fork the top is left behind
empty, so that what is below is all that there is, and the twin's process goes on with the layers that it has open, under a top of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from gasang.core.errors import StateError
from gasang.host.files import lock_file
from gasang.storage.images.image import Image
from gasang.storage.images.qcow2.disk import Qcow2
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import kept_of, read_record, write_record
from gasang.storage.volumes.record import Kept, Record, new_key
from gasang.storage.volumes.volume import Volume, lock_of, present_time, sweep

BEFORE: Final = "before-restore"
"""How snapshots begin that keep what a volume had when its machine went back to a snapshot."""


class MachineDisk(Volume):
    """An open volume that a machine has."""

    heir: Path | None = None
    """The folder of the clone that a process forked after the next `split` goes on with."""

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Nobody else changes the volume in the block; as a disk it is used as ever."""
        with self._acts:
            yield

    # Kept with its machine.

    def hold(self, name: str) -> None:
        """Keep, as `name` (record.held_name), the state of the last `freeze`, in a `steady` block. Raises OutOfSpaceError, OSError."""
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

        In a `steady` block. Raises StateError where the volume was changed since `heir` was made, OSError; it goes on as it was then.
        """
        if self.read_only:
            return
        assert self.heir is not None
        layer = self.freeze()
        if any(not (self.heir / self.record.file(key)).exists() for key in self.record.chain(layer)):
            raise StateError(self._subject, "it was changed while its clone for a twin was being made", "try again")

    def renew(self) -> None:
        """In a process forked after `split`: the volume is `heir` from now on. Raises GasangError, OSError."""
        self._acts, self._busy = threading.RLock(), threading.RLock()
        if self.read_only:
            return
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
