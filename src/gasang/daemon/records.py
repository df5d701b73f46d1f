"""What the daemon must not forget: JSON records in an SQLite database, held in memory as well.

A change is on disk before it is seen in memory. One process at a time opens a database: the lock goes with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, OutOfSpaceError, StateError

VERSION: Final = 1
RESERVE: Final = 256 << 10
"""Bytes put by: a disk that is full keeps nobody from removing something, and no exit code is lost."""
_PUT: Final = "INSERT OR REPLACE INTO record VALUES (?, ?, ?)"
_KINDS: Final = ("container", "network", "volume", "setting", "build")


class Database:
    """The database of one daemon."""

    def __init__(self, folder: Path) -> None:
        """Open or make the database in `folder`. Raises StateError where another daemon has it, BadInputError where it is damaged."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StateError(f"state {folder}", "another daemon uses it", "end that one, or set GASANG_HOME to another folder") from None
        self._reserve = folder / "reserve"
        path = folder / "state.db"
        try:
            self._path = path
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._open(path)
        except sqlite3.DatabaseError as error:
            os.close(self._lock)
            if _is_full(error):
                raise self._full() from error
            raise BadInputError(f"state {path}", f"it cannot be read ({error})", self._ways_out) from error
        except GasangError:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        try:
            self._prepare(path)
        except sqlite3.DatabaseError as error:
            if not _is_full(error):
                raise
            self._reserve.unlink(missing_ok=True)
            self._prepare(path)

    def _full(self) -> OutOfSpaceError:
        return OutOfSpaceError(f"state {self._path}", "no space is left on its disk", "free some")

    @property
    def _ways_out(self) -> str:
        return f"bring it back from a copy, or move {self._folder} away to start with nothing"

    def _prepare(self, path: Path) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")  # survives a killed daemon; a power cut may lose the last moment
        if self._is_new() and any((self._folder / "containers").glob("*")):
            raise BadInputError(f"state {path}", "it is empty or gone, and there are containers that it should know", self._ways_out)
        self._connection.execute("CREATE TABLE IF NOT EXISTS record (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID")
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise BadInputError(f"state {path}", f"a newer gasang wrote it (version {found})", "use that one")
        if found != VERSION:
            self._connection.execute(f"PRAGMA user_version={VERSION}")
        if not self._reserve.exists():
            self._put_by()

    def _is_new(self) -> bool:
        return self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name='record'").fetchone() is None

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        """Every record of a kind, by id. Raises BadInputError where one is damaged."""
        try:
            rows = self._connection.execute("SELECT id, body FROM record WHERE kind=?", (kind,)).fetchall()
        except sqlite3.DatabaseError as error:
            raise BadInputError(f"state {self._path}", f"it cannot be read ({error})", self._ways_out) from error
        return {str(key): _record(kind, str(key), body) for key, body in rows}

    def put(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Keep a new record. Raises OutOfSpaceError where the disk is full."""
        self._change(_PUT, (kind, key, json.dumps(body, separators=(",", ":"))))

    def change(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Keep what has become of something: what is put by for a full disk may be used. Raises OutOfSpaceError."""
        self._must(_PUT, (kind, key, json.dumps(body, separators=(",", ":"))))

    def drop(self, kind: str, key: str) -> None:
        """Forget a record, also on a full disk: how else would one make room. Raises OutOfSpaceError."""
        self._must("DELETE FROM record WHERE kind=? AND id=?", (kind, key))
        if not self._reserve.exists():
            self._put_by()

    def _must(self, statement: str, values: tuple[str, ...]) -> None:
        try:
            self._change(statement, values)
        except OutOfSpaceError:
            self._reserve.unlink(missing_ok=True)
            self._change(statement, values)

    def _put_by(self) -> None:
        """Room for changes on a full disk."""
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE)
        except OSError:  # it is full now; a later time will do
            self._reserve.unlink(missing_ok=True)

    def _change(self, statement: str, values: tuple[str, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            if _is_full(error):
                raise self._full() from error
            cause, hint = f"it cannot be written ({error})", "look at its disk, then start the daemon again"
            raise GasangError(f"state {self._path}", cause, hint) from error

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()
        os.close(self._lock)


def _is_full(error: sqlite3.DatabaseError) -> bool:
    """Whether the disk is: SQLite says so in several ways, not all errors of its module have a code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL or "disk I/O error" in str(error)


def damaged(kind: str, key: str) -> BadInputError:
    """The error of a record that is not what a gasang wrote."""
    return BadInputError(f"record of {kind} {key}", "it is damaged", "bring the daemon's state back from a copy, or move it away")


def _record(kind: str, key: str, body: object) -> dict[str, Any]:
    try:
        found = json.loads(body) if isinstance(body, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise damaged(kind, key)
    return found


class Table:
    """The records of one kind, in memory and in the database."""

    def __init__(self, database: Database, kind: str) -> None:
        assert kind in _KINDS
        self._database = database
        self._kind = kind
        self._rows = database.load(kind)

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._rows))

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a key, if there is one."""
        return self._rows.get(key)

    def put(self, key: str, body: dict[str, Any]) -> None:
        """Keep a record."""
        keep = self._database.change if key in self._rows else self._database.put
        keep(self._kind, key, body)
        self._rows[key] = body

    def drop(self, key: str) -> None:
        """Forget a record."""
        self._database.drop(self._kind, key)
        self._rows.pop(key, None)
