"""Where backups are kept: whole files that appear under their names at once and never change. A folder of the host, or objects in a bucket.

Names have one part or two ("gasang-backup.json", "packs/x.pack"). A store says `backups in PLACE` of itself in its errors; every method
raises GasangError, and those that name a file that is not there FileNotFoundError.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

S3: Final = "s3://"


class Entry(NamedTuple):
    """A file of a store: its name, its bytes, and when it appeared (seconds of the store's clock)."""

    name: str
    size: int
    modified: float


class Draft(Protocol):
    """A file that has no name yet: write `file`, then have it by its name, or give it up."""

    @property
    def file(self) -> BinaryIO:
        """Where its content goes."""
        ...

    def publish(self) -> None:
        """Have it by its name, whole and on stable storage. It is given up where that fails. FileExistsError: another had it first."""
        ...

    def give_up(self) -> None:
        """Take it away; does nothing to one that was published."""
        ...


class Store(Protocol):
    """An open place for backups."""

    place: str
    subject: str

    def lock(self, *, shared: bool) -> None:
        """Be one of its readers, or its only writer, until it is closed; a writer clears what others left unfinished.

        Raises StateError where another writes to it.
        """
        ...

    def entries(self, part: str = "") -> list[Entry]:
        """The complete files of a part; of "": anything at all, to tell whether there is something."""
        ...

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Exactly `length` bytes from `offset` on; the whole file by default."""
        ...

    def draft(self, name: str) -> Draft:
        """Begin a file."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; on stable storage when this returns. One that is not there is none the less gone."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_store(place: Path | str) -> Store:
    """The store that a user names: s3://BUCKET/PREFIX, or a folder. Nothing is asked of it yet. Raises GasangError."""
    if str(place).startswith(S3):
        from gasang.storage.backup.s3.bucket import open_bucket  # boto3 is loaded for this alone

        return open_bucket(str(place))
    from gasang.storage.backup.folder import Folder

    return Folder(Path(place))
