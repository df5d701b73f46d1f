"""Volumes in a machine's snapshot: each has a snapshot of its own of the same moment, which goes with the machine's (storage/volumes)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from gasang.core.errors import BadInputError, GasangError, StateError
from gasang.devices.virtio.block import VirtioBlock
from gasang.kinds.vm.snapshot.document import AGAIN, DiskRecord
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw
from gasang.storage.volumes.record import held_name

if TYPE_CHECKING:  # most machines have none
    from gasang.storage.volumes.machine_disk import MachineDisk

FOREIGN: Final = "x"
"""How keepers begin that are no machine of the daemon's."""
_DIGITS: Final = 12
_ID: Final = re.compile("[0-9a-f]{12,}")


def keeper(store: Path) -> str:
    """Whose the snapshots in a folder are: a machine's of the daemon, in whose folder it is (its name is the id), or somebody else's."""
    owner = os.path.basename(os.path.dirname(os.path.abspath(store)))
    if _ID.fullmatch(owner):
        return owner[:_DIGITS]
    return f"{FOREIGN}{hashlib.sha256(os.fsencode(os.path.abspath(store))).hexdigest()[: _DIGITS - 1]}"


def written(devices: Iterable[VirtioBlock]) -> list[MachineDisk]:
    """The volumes among a machine's disks that it writes to."""
    others = [device.block for device in devices if not device.read_only and not isinstance(device.block, Overlay | Raw)]
    if not others:
        return []
    from gasang.storage.volumes.machine_disk import MachineDisk

    return [block for block in others if isinstance(block, MachineDisk)]


class Keeping:
    """A machine with these volumes is being kept as `name` in a folder; nobody else changes them in the block.

    What it held is let go of where the block ends badly.
    """

    def __init__(self, volumes: Sequence[MachineDisk], store: Path, name: str) -> None:
        self.name = held_name(name, keeper(store)) if volumes else ""
        self._volumes = volumes
        self._held: list[MachineDisk] = []
        self._steady = ExitStack()

    def __enter__(self) -> Self:
        """Most of what waits to be written is while the machine runs. Raises GasangError, OSError."""
        with ExitStack() as steady:
            for volume in self._volumes:
                steady.enter_context(volume.leaving())
            self._steady = steady.pop_all()
        return self

    def hold(self) -> None:
        """Each keeps the state in which it was captured. Raises GasangError, OSError."""
        for volume in self._volumes:
            self._held.append(volume)
            volume.hold(self.name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._steady:
            if kind is not None:
                for volume in self._held:
                    with suppress(GasangError, OSError):  # who sweeps the volume does it
                        volume.release(self.name)


def record_of(volume: MachineDisk, held: str) -> DiskRecord:
    """What a snapshot says of a volume; the machine stands still. One that is only read is to be found as it is. Raises OSError."""
    if volume.read_only:
        path = volume.folder / volume.record.file(volume.record.top)
        info = path.stat()
        return DiskRecord(str(path), info.st_size, info.st_mtime_ns, "", "", read_only=True, volume=str(volume.folder))
    volume.leave()
    return DiskRecord("", volume.size, 0, "", "", read_only=False, volume=str(volume.folder), kept=held)


def check(record: DiskRecord, subject: str) -> None:
    """Whether a volume still has what the machine's snapshot needs of it. Raises NotFoundError, BadInputError."""
    from gasang.storage.volumes.folder import kept_of, read_record

    folder = Path(record.volume)
    found = read_record(folder)
    kept = kept_of(found, record.kept, f"volume {folder.name}")
    for key in found.chain(kept.layer):
        if not (folder / found.file(key)).exists():
            raise BadInputError(f"{subject}, volume {folder.name}", f"its layer {found.file(key)} is gone", AGAIN)


def go_back(records: Iterable[DiskRecord], *, keep: bool) -> list[tuple[str, str]]:
    """Have the volumes of a machine, which does not run, be what they were when its snapshot was made.

    With `keep` what they have now is kept as snapshots of theirs: (volume, snapshot) of each. Raises StateError where another machine has
    one, NotFoundError, OutOfSpaceError, OSError.
    """
    from gasang.storage.volumes.machine_disk import MachineDisk

    made = []
    with ExitStack() as opened:
        wanted = [record for record in records if record.kept]
        volumes = [opened.enter_context(closing(MachineDisk.open(Path(record.volume)))) for record in wanted]
        for volume, record in zip(volumes, wanted, strict=True):
            if present := volume.go_back(record.kept, keep=keep):
                made.append((volume.folder.name, present))
    return made


def check_back(records: Iterable[DiskRecord], volumes: Iterable[MachineDisk]) -> None:
    """Raise StateError unless each volume of a machine to be restored is where it was: over another disk its guest would destroy files."""
    attached = {str(volume.folder): volume for volume in volumes}
    for record in records:
        if record.kept and not ((volume := attached.get(record.volume)) is not None and volume.is_at(record.kept)):
            name = Path(record.volume).name
            raise StateError(f"volume {name}", "it is not what it was when the snapshot was made", "restore with: gasang restore")
