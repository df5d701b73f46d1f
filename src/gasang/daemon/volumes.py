"""Named volumes of the local driver: a folder each, kept until removed."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from gasang.core.errors import NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.binds import VOLUME as NAME
from gasang.daemon.containers.names import new_id, now
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.records import Database, Table

ANONYMOUS = "com.docker.volume.anonymous"


class Volumes:
    """The volumes of a daemon. `users` of a volume are told by whoever asks to remove it."""

    def __init__(self, database: Database, folders: Folders, events: Events) -> None:
        self._table = Table(database, "volume")
        self._folders = folders
        self._events = events

    def all(self) -> list[dict[str, Any]]:
        """Every volume's record, by name."""
        return [self._table[name] for name in sorted(self._table)]

    def find(self, name: str) -> dict[str, Any]:
        """A volume's record. Raises NotFoundError."""
        found = self._table.get(name)
        if found is None:
            raise NotFoundError("no such volume", name[:80], "gasang volume ls lists what is here")
        return found

    def create(
        self, name: str, labels: dict[str, str], driver: str = "local", options: dict[str, str] | None = None, *, anonymous: bool = False
    ) -> dict[str, Any]:
        """The volume of a name, made if it is not there; an empty name gets a new one. Raises UsageError, UnsupportedError."""
        if driver not in ("", "local"):
            raise UnsupportedError(f"volume driver {driver[:40]!r}", "there is only 'local'", "leave the driver out")
        if name and not NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} includes invalid characters for a local volume name",
                "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                "choose another",
            )
        if name in self._table:
            return self._table[name]
        made = name or new_id()
        if anonymous or not name:
            labels = {**labels, ANONYMOUS: ""}
        data = self._folders.volume(made) / "_data"
        data.mkdir(parents=True, exist_ok=True)
        record = {
            "Name": made,
            "Driver": "local",
            "Mountpoint": str(data),
            "CreatedAt": now(),
            "Labels": labels or None,
            "Options": options or None,
            "Scope": "local",
        }
        self._table.put(made, record)
        self._events.tell("volume", "create", made, {"driver": "local"})
        return record

    def recover(self) -> None:
        """Forget volumes whose removal was broken off."""
        for name in self._table:
            if not self._folders.volume(name).exists():
                self._table.drop(name)

    def folder(self, name: str) -> Path:
        """Where a volume's files are."""
        return Path(self.find(name)["Mountpoint"])

    def is_anonymous(self, name: str) -> bool:
        """Whether nobody named it."""
        found = self._table.get(name)
        return bool(found and ANONYMOUS in (found["Labels"] or {}))

    def remove(self, name: str, users: list[str], *, force: bool = False) -> None:
        """Remove a volume and its files. Raises StateError where containers use it, NotFoundError unless `force`."""
        if force and name not in self._table:
            return
        self.find(name)
        if users:
            raise StateError(f"remove {name}", f"volume is in use - [{', '.join(users)}]", "remove these containers first")
        gone = self._folders.scratch() / f"volume-{new_id()}"  # emptied by the next daemon, should this one be killed
        with suppress(FileNotFoundError):
            self._folders.volume(name).rename(gone)
        self._table.drop(name)
        shutil.rmtree(gone, ignore_errors=True)
        self._events.tell("volume", "destroy", name, {"driver": "local"})


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
