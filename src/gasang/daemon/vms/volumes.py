"""What the volumes of machines need of the daemon where machines are kept, taken back, forked and removed (kinds/vm/snapshot/volumes.py).

A twin's volumes are clones in the twin's folder, and go with it. A volume's snapshot that a machine's snapshot needs goes with that; what
somebody was killed over is swept with the daemon's start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError, GasangError
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.record import Container
from gasang.daemon.disk_volumes import DiskVolumes
from gasang.daemon.services import Services
from gasang.daemon.vms.ways import VmWays
from gasang.kinds.vm.process.machine import SNAPSHOTS
from gasang.kinds.vm.snapshot import folder as snapshots
from gasang.kinds.vm.snapshot import volumes
from gasang.kinds.vm.snapshot.document import DiskRecord
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.storage.volumes import folder as disks
from gasang.storage.volumes.record import held_name, keeper_of

END_TIME: Final = 10.0
"""Seconds for the daemon to hear that a process has ended."""
VOLUMES: Final = "volumes"
"""The folder of a twin's volumes, in the twin's."""


class MachineVolumes:
    """Those of a daemon."""

    def __init__(self, services: Services, lives: Lives, ways: VmWays) -> None:
        self._services = services
        self._lives = lives
        self._ways = ways
        self.disks = DiskVolumes(services, lives, ways)

    def store(self, container: Container) -> Path:
        """The folder of a machine's snapshots."""
        return self._ways.folder(container) / SNAPSHOTS

    # twins

    @staticmethod
    def forked(parent: Container) -> list[str]:
        """The folders of volumes of which a twin has a clone: those that the machine writes to."""
        return [str(place) for place, _, read_only in parent.machine.get("volumes", ()) if not read_only]

    async def bequeath(self, parent: Container, twin: Container) -> dict[str, str]:
        """Clones of them for a twin, as whose they are noted: the folders of the clones by those of the volumes. Raises GasangError."""
        shared = await self._ways.ask(parent, "share")
        own = self._ways.folder(twin) / VOLUMES
        heirs = {}
        for place in self.forked(parent):
            begin = _begin(shared, place, parent.subject)
            heirs[place] = str(await asyncio.to_thread(self._services.volumes.heir_disk, Path(place), *begin, own, twin.name))
        twin.machine["volumes"] = [[heirs.get(place, place), *more] for place, *more in twin.machine["volumes"]]
        return heirs

    # going back

    async def kept(self, container: Container, name: str) -> list[DiskRecord]:
        """What a machine's snapshot has of its volumes. Raises BadInputError where they are others: it could write the file."""
        own = self.forked(container)
        if not own:
            return []
        found = await asyncio.to_thread(Snapshot.open, self.store(container) / name)
        records = [record for record in found.document.disks if record.kept]
        if sorted(record.volume for record in records) != sorted(own):
            raise BadInputError(f"snapshot {name}", "it is of a machine with other volumes", "restore another (gasang snapshot ls)")
        return records

    @staticmethod
    async def go_back(records: Sequence[DiskRecord], *, keep: bool) -> list[tuple[str, str]]:
        """Have the volumes of a machine, which does not run, be what they were; what is kept of the present: (volume, snapshot) of each."""
        return await asyncio.to_thread(volumes.go_back, records, keep=keep) if records else []

    # snapshots that are gone

    async def release(self, container: Container, name: str) -> None:
        """A machine has not, or not any more, a snapshot of this name: its volumes need not keep theirs."""
        held = held_name(name, volumes.keeper(self.store(container)))
        for place in self.forked(container):
            await self._release(Path(place), held)

    async def give_up(self, container: Container, name: str) -> None:
        """A snapshot that was asked for has failed; where its process was killed over it, that has the volumes until it has ended."""
        if (self.store(container) / name).exists() or not self.forked(container):
            return
        try:
            await self._ways.ask(container, "status")
        except GasangError:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lives.wait(container, "not-running"), END_TIME)
        await self.release(container, name)

    async def forget(self, container: Container) -> None:
        """A machine has been removed, with its folder."""
        own = self._ways.folder(container)
        await asyncio.to_thread(self._services.volumes.forget_below, own)
        for place in map(Path, self.forked(container)):
            if not place.is_relative_to(own):
                for held in await asyncio.to_thread(_held_by, place, volumes.keeper(self.store(container))):
                    await self._release(place, held)

    async def sweep(self) -> None:
        """Let go of what is held for snapshots that are not there."""
        owners = {volumes.keeper(self.store(entry)): entry for entry in self._lives.all()}
        for place in self._services.volumes.disks():
            for held in await asyncio.to_thread(_held_by, place):
                owner = owners.get(keeper_of(held))
                if owner is None or not self._has(owner, held.rpartition("@")[0]):
                    await self._release(place, held)

    def _has(self, owner: Container, name: str) -> bool:
        """Whether a machine has a snapshot of this name, or is making it."""
        store = self.store(owner)
        return (store / name).exists() or (owner.status.alive and snapshots.is_being_made(store, name))

    async def _release(self, place: Path, held: str) -> None:
        """Who has the volume now, or the next daemon, does it where this is not possible."""
        with suppress(GasangError, OSError):
            name = self._services.volumes.disks().get(place)
            if name is not None and held in (await asyncio.to_thread(disks.read_record, place)).snapshots:
                await self.disks.act(name, "release", {"name": held})


def _begin(shared: object, place: str, subject: str) -> tuple[str, int]:
    """Layer and size of a clone, as a machine says them. Raises BadInputError."""
    match shared:
        case {**found} if isinstance(told := found.get(place), dict):
            match told:
                case {"Layer": str(layer), "Size": int(size)}:
                    return layer, size
    raise BadInputError(subject, "what it says of its volumes makes no sense", "stop it, and start it again")


def _held_by(place: Path, keeper: str = "") -> list[str]:
    """The snapshots of a volume that snapshots of the daemon's machines need, or of that one; of a damaged volume none."""
    try:
        found = disks.read_record(place).snapshots
    except GasangError:
        return []
    return [name for name in found if (owner := keeper_of(name)) and not owner.startswith(volumes.FOREIGN) and owner.startswith(keeper)]
