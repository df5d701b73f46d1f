"""Backups in a folder of the host: a file appears by rename once it is on stable storage, and flock(2) on the note tells who writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError, OutOfSpaceError, PermissionDeniedError, StateError
from gasang.host.files import lock_file, open_file, read_at
from gasang.storage.backup.store import Entry
from gasang.storage.made import FULL

NOTE: Final = "gasang-backup.json"
_PART: Final = ".part"


class Folder:
    """A store (store.py) that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)
        self.subject = f"backups in {folder}"
        self._lock = -1
        self._open: dict[str, int] = {}

    def lock(self, *, shared: bool) -> None:
        """Lock its note. Raises StateError."""
        with telling(self.subject):
            self._lock = os.open(self.folder / NOTE, os.O_RDONLY | os.O_CLOEXEC)
            if not lock_file(self._lock, shared=shared):
                raise StateError(self.subject, "another writes to them", "wait for that one")
            if not shared:
                for left in self.folder.glob(f"*/*{_PART}"):
                    left.unlink(missing_ok=True)

    def entries(self, part: str = "") -> list[Entry]:
        """What is in a folder of it, by name."""
        found = []
        with telling(self.subject), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for each in sorted(os.scandir(self.folder / part), key=lambda each: each.name):
                if not each.name.endswith(_PART):
                    about = each.stat(follow_symlinks=False)
                    name = f"{part}/{each.name}" if part else each.name
                    found.append(Entry(name, about.st_size, about.st_mtime_ns / 1e9))
        return found

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Bytes of a file; those that pieces are read of stay open."""
        with telling(self.subject):
            if length < 0:
                return (self.folder / name).read_bytes()[offset:]
            if name not in self._open:
                self._open[name] = open_file(self.folder / name, read_only=True)
            return read_at(self._open[name], length, offset)

    def draft(self, name: str) -> FolderDraft:
        """Begin a file beside where it will be."""
        with telling(self.subject):
            return FolderDraft(self.folder / name, self.subject)

    def remove(self, name: str) -> None:
        """Unlink a file."""
        with telling(self.subject):
            (self.folder / name).unlink(missing_ok=True)
            _sync((self.folder / name).parent)
        if (descriptor := self._open.pop(name, -1)) >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Close what is open; the lock goes with it."""
        for descriptor in (*self._open.values(), self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._open, self._lock = {}, -1


class FolderDraft:
    """A file with another name until it is complete."""

    def __init__(self, path: Path, subject: str) -> None:
        self._path = path
        self._part = path.with_suffix(_PART)
        self._subject = subject
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file = self._part.open("wb")

    def publish(self) -> None:
        """Sync it, rename it, sync its folder."""
        with telling(self._subject):
            try:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
                self._part.replace(self._path)
            except OSError:
                self.give_up()
                raise
            _sync(self._path.parent)

    def give_up(self) -> None:
        """Unlink it."""
        with contextlib.suppress(OSError):  # what could not be written before cannot be now
            self.file.close()
        self._part.unlink(missing_ok=True)


@contextlib.contextmanager
def telling(subject: str) -> Iterator[None]:
    """What the host refuses, as an error a user understands; FileNotFoundError passes."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            hint = "free some space there; the backups that are there are whole"
            raise OutOfSpaceError(subject, "their disk is full", hint) from error
        if isinstance(error, PermissionError):
            raise PermissionDeniedError(subject, f"{error.filename} may not be used", "change its permissions") from error
        if isinstance(error, FileNotFoundError):
            raise
        raise BadInputError(subject, f"the host fails ({error.strerror})", "check their disk") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
