"""Named volumes, kept until removed: folders, of the driver "local", and disks for virtual machines, of the driver "disk".

A disk's size and format are driver options, so that any client of the Docker API makes one: docker volume create -d disk -o size=20G.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError, UnsupportedError, UsageError
from gasang.core.units import format_size, parse_size
from gasang.daemon.containers.binds import VOLUME as NAME
from gasang.daemon.containers.names import new_id, now
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.records import Database, Table
from gasang.storage.volumes import folder as disks
from gasang.storage.volumes.record import keeper_of
from gasang.storage.volumes.volume import Volume

ANONYMOUS = "com.docker.volume.anonymous"
LOCAL, DISK = "local", "disk"
DRIVERS = (LOCAL, DISK)
_DISK_OPTIONS = {"size", "format"}


class Volumes:
    """The volumes of a daemon. `users` of a volume are told by whoever asks to remove it."""

    def __init__(self, database: Database, folders: Folders, events: Events) -> None:
        self._table = Table(database, "volume")
        self._folders = folders
        self._events = events

    def all(self) -> list[dict[str, Any]]:
        """Every volume's record, by name."""
        return [self._shown(self._table[name]) for name in sorted(self._table)]

    def find(self, name: str) -> dict[str, Any]:
        """A volume's record. Raises NotFoundError."""
        found = self._table.get(name)
        if found is None:
            raise NotFoundError("no such volume", name[:80], "gasang volume ls lists what is here")
        return self._shown(found)

    @staticmethod
    def _shown(record: dict[str, Any]) -> dict[str, Any]:
        """With what there is to tell of a disk now."""
        if record["Driver"] != DISK:
            return record
        try:
            return {**record, "Status": disks.describe(Path(record["Mountpoint"]))}
        except GasangError as error:
            return {**record, "Status": {"Error": str(error)}}

    def create(
        self, name: str, labels: dict[str, str], driver: str = "local", options: dict[str, str] | None = None, *, anonymous: bool = False
    ) -> dict[str, Any]:
        """The volume of a name, made if it is not there; an empty name gets a new one. Raises UsageError, UnsupportedError."""
        driver = driver or LOCAL
        if driver not in DRIVERS:
            raise UnsupportedError(f"volume driver {driver[:40]!r}", f"there are only {' and '.join(DRIVERS)}", "leave the driver out")
        if name and not NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} includes invalid characters for a local volume name",
                "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                "choose another",
            )
        if name in self._table:
            return self._existing(name, driver, options or {})
        made = name or new_id()
        if anonymous or not name:
            labels = {**labels, ANONYMOUS: ""}
        place = self._folders.volume(made)
        if driver == DISK:
            size, form = _disk_options(options or {})
            shutil.rmtree(place, ignore_errors=True)  # of a volume whose making was broken off
            disks.create(place, size, form)
            return self._enter(made, driver, place, labels, {"size": str(size), "format": form})
        data = place / "_data"
        data.mkdir(parents=True, exist_ok=True)
        return self._enter(made, driver, data, labels, options or {})

    def _existing(self, name: str, driver: str, options: dict[str, str]) -> dict[str, Any]:
        found = self.find(name)
        if DISK in (driver, found["Driver"]) and driver != found["Driver"]:
            cause = f"it is there, {'a disk' if found['Driver'] == DISK else 'a folder'}"
            raise StateError(f"volume {name}", cause, "choose another name; only virtual machines have volumes that are disks")
        size = found.get("Status", {}).get("Size")
        if driver == DISK and size is not None and options and _disk_options(options)[0] != size:
            hint = f"choose another name, or gasang volume resize {name} SIZE"
            raise StateError(f"volume {name}", f"it is there, with {format_size(size)}", hint)
        return found

    def clone_disk(self, source: Path, layer: str, size: int, name: str) -> dict[str, Any]:
        """A new disk volume that shares a layer of another (storage/volumes). Raises UsageError, StateError for a name that is taken."""
        if not NAME.fullmatch(name):
            raise UsageError(f"volume name {name[:80]!r}", "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", "choose another")
        if name in self._table:
            raise StateError(f"volume {name}", "there is one of that name", "choose another name")
        place = self._folders.volume(name)
        shutil.rmtree(place, ignore_errors=True)
        disks.clone(source, layer, size, place)
        return self._enter(name, DISK, place, {}, {"size": str(size), "format": disks.read_record(place).form, "clone": source.name})

    def heir_disk(self, source: Path, layer: str, size: int, folder: Path, owner: str) -> Path:
        """A disk volume in `folder`, the machine's that is called `owner`, which goes with it: of a twin, in place of the one in `source`.

        Raises StateError, OutOfSpaceError, OSError, and there is none then.
        """
        found = next((record for record in self._records() if record["Mountpoint"] == str(source)), None)
        root = str(found["Options"].get("clone", found["Name"]) if found and self.is_anonymous(found["Name"]) else source.name)
        name, number = f"{root}-{owner}", 1
        while name in self._table:
            number += 1
            name = f"{root}-{owner}-{number}"
        place = folder / name
        disks.heir(source, layer, size, place)
        form = disks.read_record(place).form
        self._enter(name, DISK, place, {ANONYMOUS: ""}, {"size": str(size), "format": form, "clone": root})
        return place

    def _records(self) -> list[dict[str, Any]]:
        return [self._table[name] for name in self._table]

    def disks(self) -> dict[Path, str]:
        """The names of the volumes that are disks, by where they lie."""
        return {Path(record["Mountpoint"]): record["Name"] for record in self._records() if record["Driver"] == DISK}

    def forget_below(self, folder: Path) -> None:
        """Forget those that lay in a machine's folder, which is gone."""
        for place, name in self.disks().items():
            if place.is_relative_to(folder):
                self._table.drop(name)
                self._events.tell("volume", "destroy", name, {"driver": DISK})

    def place(self, name: str) -> Path:
        """Where a volume lies, if it is there."""
        found = self._table.get(name)
        return Path(found["Mountpoint"]) if found and found["Driver"] == DISK else self._folders.volume(name)

    def _enter(self, made: str, driver: str, place: Path, labels: dict[str, str], options: dict[str, str]) -> dict[str, Any]:
        record = {
            "Name": made,
            "Driver": driver,
            "Mountpoint": str(place),
            "CreatedAt": now(),
            "Labels": labels or None,
            "Options": options or None,
            "Scope": "local",
        }
        self._table.put(made, record)
        self._events.tell("volume", "create", made, {"driver": driver})
        return self._shown(record)

    def recover(self) -> None:
        """Forget volumes whose removal was broken off."""
        for name in self._table:
            if not self.place(name).exists():
                self._table.drop(name)

    def folder(self, name: str) -> Path:
        """Where a volume's files are."""
        return Path(self.find(name)["Mountpoint"])

    def driver_of(self, name: str) -> str:
        """That of a volume; of one that is not there, the one it would be made with."""
        found = self._table.get(name)
        return str(found["Driver"]) if found else LOCAL

    def disk(self, name: str) -> Path | None:
        """Where a disk volume lies; None for one that is a folder. Raises NotFoundError."""
        found = self.find(name)
        return Path(found["Mountpoint"]) if found["Driver"] == DISK else None

    def used(self, record: dict[str, Any]) -> int:
        """Bytes that a volume takes on the host."""
        if record["Driver"] == DISK:
            return int(record.get("Status", {}).get("Used", 0))
        return size_of(Path(record["Mountpoint"]))

    def is_anonymous(self, name: str) -> bool:
        """Whether nobody named it."""
        found = self._table.get(name)
        return bool(found and ANONYMOUS in (found["Labels"] or {}))

    def remove(self, name: str, users: list[str], *, force: bool = False) -> None:
        """Remove a volume and its files. Raises StateError where containers use it, NotFoundError unless `force`."""
        if force and name not in self._table:
            return
        driver = self.find(name)["Driver"]
        if users:
            cause = f"volume is in use - [{', '.join(users)}]{self._held(name)}"
            raise StateError(f"remove {name}", cause, "remove these containers first")
        place = self.place(name)
        if driver == DISK:
            with suppress(NotFoundError, BadInputError):  # what is damaged can be removed
                Volume.open(place).close()
        gone = self._folders.scratch() / f"volume-{new_id()}"  # emptied by the next daemon, should this one be killed
        with suppress(FileNotFoundError):
            place.rename(gone)
        self._table.drop(name)
        shutil.rmtree(gone, ignore_errors=True)
        self._events.tell("volume", "destroy", name, {"driver": driver})

    def _held(self, name: str) -> str:
        """Which of its snapshots belong to machines' snapshots, as words behind others."""
        with suppress(GasangError):
            folder = self.disk(name)
            held = [each for each in disks.read_record(folder).snapshots if keeper_of(each)] if folder else []
            return f", and machines' snapshots need it: {', '.join(held)}" if held else ""
        return ""


def _disk_options(options: dict[str, str]) -> tuple[int, str]:
    """Bytes and format of a new disk. Raises UsageError."""
    for option in options.keys() - _DISK_OPTIONS:
        raise UsageError(f"volume option {option[:40]!r}", "a disk has none of this name", f"use {', '.join(sorted(_DISK_OPTIONS))}")
    if "size" not in options:
        raise UsageError("volume option size", "a disk needs one", "give size=20G")
    return disks.check_size(parse_size(options["size"], "volume option size")), options.get("format") or "qcow2"


def size_of(folder: Path) -> int:
    """Bytes that a folder's files take on disk, hard links counted once."""
    import os

    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                found = os.lstat(os.path.join(parent, name))
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size if not found.st_mode & 0o040000 else 0
    return total
