"""What disk volumes have beyond other volumes: snapshots, clones, another size. Whoever has a volume open is who does it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import StateError, UnsupportedError
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.record import Container
from gasang.daemon.services import Services
from gasang.daemon.vms.ways import VmWays
from gasang.storage.volumes import folder as disks
from gasang.storage.volumes.acts import act
from gasang.storage.volumes.volume import Volume

PATIENCE: Final = 60.0
_SILENT: Final = frozenset({"freeze", "base", "release"})
"""What is done for something else, of which others hear."""


class DiskVolumes:
    """Those of a daemon; `ways` reaches the machines that have them."""

    def __init__(self, services: Services, lives: Lives, ways: VmWays) -> None:
        self._services = services
        self._lives = lives
        self._ways = ways

    def folder(self, name: str) -> Path:
        """Where a disk volume lies. Raises NotFoundError, UnsupportedError for a volume that is a folder."""
        folder = self._services.volumes.disk(name)
        if folder is None:
            hint = "make one that is a disk: gasang volume create NAME --size SIZE"
            raise UnsupportedError(f"volume {name}", "it is a folder, and only disks have snapshots and a size", hint)
        return folder

    async def act(self, name: str, what: str, words: dict[str, Any]) -> dict[str, Any]:
        """An act by name (storage/volumes/acts.py). Raises NotFoundError, UnsupportedError, StateError, and as the act does."""
        folder = self.folder(name)
        holder = self._holder(folder)
        if holder is not None:
            told: dict[str, Any] = await self._ways.ask(holder, "volume", {"volume": name, "act": what, **words}, PATIENCE)
        else:
            told = await asyncio.to_thread(_act, folder, what, words)
        if what not in _SILENT:
            self._services.events.tell("volume", what, name, {"driver": "disk"})
        return told

    async def snapshots(self, name: str) -> list[dict[str, Any]]:
        """Its snapshots, in the order in which they were made."""
        return list((await asyncio.to_thread(disks.describe, self.folder(name)))["Snapshots"])

    async def clone(self, name: str, new: str, snapshot: str = "") -> dict[str, Any]:
        """A volume that begins as this one is now, or was at a snapshot. Raises StateError where the name is taken, NotFoundError."""
        folder = self.folder(name)
        if snapshot:
            kept = disks.kept_of(disks.read_record(folder), snapshot, f"volume {name}")
            layer, size = kept.layer, kept.size
        else:
            frozen = await self.act(name, "freeze", {})
            layer, size = frozen["Layer"], frozen["Size"]
        return await asyncio.to_thread(self._services.volumes.clone_disk, folder, layer, size, new)

    def _holder(self, folder: Path) -> Container | None:
        """The machine behind the daemon that can write to a volume now."""
        for entry in self._lives.all():
            attached = entry.machine.get("volumes", ())
            if entry.status.alive and any(Path(path) == folder and not read_only for path, _, read_only in attached):
                return entry
        return None


def _act(folder: Path, what: str, words: dict[str, Any]) -> dict[str, Any]:
    try:
        volume = Volume.open(folder)
    except StateError as error:
        hint = "stop that machine first; machines in the background need not be stopped for snapshots, clones and another size"
        raise StateError(error.subject, "a machine in the foreground, or one that only reads it, has it open", hint) from error
    with contextlib.closing(volume):
        return act(volume, what, words)
