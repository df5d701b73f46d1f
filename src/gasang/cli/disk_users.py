"""Who has the disks that were imported under a name: what they are asked before it is forgotten."""

from __future__ import annotations

import os
from pathlib import Path

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.settings import Context
from gasang.core.errors import StateError
from gasang.daemon.folders import Folders
from gasang.storage.raw import Raw
from gasang.storage.shelf import Shelf


def expect_idle(shelf: Shelf, name: str) -> None:
    """Raises StateError where something has a disk of that name open, NotFoundError."""
    for number in range(shelf.machine(name)[1]):
        disk = shelf.disk(f"{name}/{number}")
        if disk is not None:
            Raw.open(disk).close()


def expect_free(shelf: Shelf, name: str, context: Context) -> None:
    """Raises StateError where a machine that the daemon knows, running or not, was given a disk of that name; what the client raises."""
    if not Folders.of(os.environ).database.exists():
        return
    folder = shelf.folder(name)
    client = connect(context)
    for listed in client.call("GET", path_of("containers", "json"), {"all": 1}):
        told = client.call("GET", path_of("containers", str(listed["Id"]), "json"))
        if any(Path(disk[0]).parent == folder for disk in (told.get("Machine") or {}).get("disks", ())):
            machine = str(told["Name"]).removeprefix("/")
            raise StateError(f"disk {name}", f"machine {machine} has it", f"remove that first (gasang rm {machine}), or add --force")
