"""What backups need of virtual machines: their disk as it is now, and a machine that boots from what was kept of another."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import StateError
from gasang.daemon.containers.fields import Field, mapping, read, text, truth, truths
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.names import new_id
from gasang.daemon.containers.record import Container
from gasang.daemon.vms.machines import OF_ANY
from gasang.daemon.vms.ways import VmWays
from gasang.images.image_process import document_of, read_process
from gasang.images.ready import ROOT, BootFiles
from gasang.kinds.vm.process import bases
from gasang.kinds.vm.process.births import FILES, note_files, noted_files, own_disk

FROM_FILES: Final[dict[str, Field]] = {"Append": text(), "Process": mapping(), "Disks": truths(), "Root": text(), "Own": truth()}
"""What a machine boots with, beside its files."""
PATIENCE: Final = 60.0
"""Seconds for a guest to write back what its programs wrote, and for its disk."""


class Keeping:
    """For the machines of a daemon."""

    def __init__(self, lives: Lives, ways: VmWays) -> None:
        self._lives = lives
        self._ways = ways

    async def freeze(self, container: Container) -> dict[str, Any]:
        """What a backup needs of a machine; the layers of its disk are linked in Folder, until `thaw`. It goes on.

        Files are what it boots from, "" for one that was never started. Raises StateError, OutOfSpaceError.
        """
        folder = self._ways.folder(container)
        into = _frozen(folder)
        await asyncio.to_thread(shutil.rmtree, into, ignore_errors=True)
        found: dict[str, Any] = {
            "Folder": str(into), "Machine": container.machine, "Name": container.name, "Labels": container.config["Labels"],
            "HostConfig": {name: container.host[name] for name in sorted(OF_ANY) if name in container.host}, "Files": {},
        }  # fmt: skip
        if not (folder / FILES).exists():
            return found
        into.mkdir(mode=0o700)
        if container.status.alive:
            await self._ways.ask(container, "freeze", {"folder": str(into)}, PATIENCE)
        else:
            await asyncio.to_thread(_freeze_at_rest, folder, into)
        files = noted_files(folder / FILES)
        found["Files"] = {
            "Kernel": str(files.kernel), "Initrd": str(files.initrd), "Disk": str(files.disk), "Append": files.append,
            "Process": document_of(files.process), "Root": files.root, "Own": files.own,
        }  # fmt: skip
        return found

    async def thaw(self, container: Container) -> None:
        """What `freeze` linked is needed no more."""
        await asyncio.to_thread(shutil.rmtree, _frozen(self._ways.folder(container)), ignore_errors=True)

    async def adopt(self, container: Container, document: Any) -> dict[str, Any]:
        """Have a machine that was never started boot from files that are put into Folder: kernel, initrd, disk; what its Disks are called.

        Raises StateError.
        """
        wish = read(document, FROM_FILES, "files of a machine")
        folder = self._ways.folder(container)
        if (folder / FILES).exists():
            raise StateError(container.subject, "it was started already", "make another")
        process = read_process(wish["Process"], container.subject) if wish["Process"] else None
        place = bases.folder_of(folder) / f"{bases.GIVEN}{new_id()[:32]}"
        paths = (place / "kernel", place / "initrd", place / "disk")
        note_files(folder / FILES, BootFiles(*paths, wish["Append"], process, wish["Root"] or ROOT, wish["Own"]))
        place.mkdir(parents=True, mode=0o700)
        disks = [[str(folder / f"disk-{number}.img"), read_only] for number, read_only in enumerate(wish["Disks"] or ())]
        container.machine = {**container.machine, "disks": disks}
        self._lives.save(container)
        return {"Folder": str(place), "Disks": [path for path, _ in disks]}


def _frozen(folder: Path) -> Path:
    """Where layers are linked for a backup: beside a machine's folder, as its process reaches nothing else."""
    return folder.with_name(f"{folder.name}.frozen")


def _freeze_at_rest(folder: Path, into: Path) -> None:
    disk = own_disk(noted_files(folder / FILES).disk, folder)
    try:
        disk.heir = into
        disk.flush()
        disk.split()
    finally:
        disk.close()
