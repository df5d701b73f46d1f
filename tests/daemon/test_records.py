"""Records in SQLite: kept, forgotten, locked; and what is said of a state that is damaged."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, OutOfSpaceError, StateError
from gasang.daemon.records import Database, Table
from support.small_disk import small_disk


def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    database = Database(tmp_path)
    table = Table(database, "volume")
    table.put("one", {"a": 1})
    table.put("two", {"b": [2]})
    table.put("one", {"a": 3})
    table.drop("two")
    database.close()
    database = Database(tmp_path)
    table = Table(database, "volume")
    assert {key: table[key] for key in table} == {"one": {"a": 3}}
    database.close()


def test_one_at_a_time(tmp_path: Path) -> None:
    database = Database(tmp_path)
    with pytest.raises(StateError, match="another daemon uses it"):
        Database(tmp_path)
    database.close()
    Database(tmp_path).close()


def spoilt(folder: Path, content: bytes) -> None:
    Database(folder).close()
    for path in folder.glob("state.db*"):
        path.unlink()
    (folder / "state.db").write_bytes(content)


@pytest.mark.parametrize("content", [b"no database at all " * 300, b"SQLite format 3\0" + bytes(4080)], ids=["garbage", "head"])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    spoilt(tmp_path, content)
    with pytest.raises(BadInputError, match=r"state .*state\.db: it cannot be read .*; bring it back from a copy, or move .* away"):
        Database(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == content


@pytest.mark.parametrize("way", ["gone", "empty"])
def test_containers_whose_database_is_gone(tmp_path: Path, way: str) -> None:
    """Nothing is begun anew beside containers that would be forgotten."""
    spoilt(tmp_path, b"")
    (tmp_path / "containers" / "abc").mkdir(parents=True)
    if way == "gone":
        (tmp_path / "state.db").unlink()
    with pytest.raises(BadInputError, match="it is empty or gone, and there are containers that it should know"):
        Database(tmp_path)
    (tmp_path / "containers" / "abc").rmdir()
    Database(tmp_path).close()


def change(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / "state.db", isolation_level=None)
    connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize("body", ["", "{", "[]", "7", '"text"', "[" * 100_000, b"\xff\xfe", None])
def test_a_record_that_is_damaged(tmp_path: Path, body: object) -> None:
    Database(tmp_path).close()
    change(tmp_path, "INSERT INTO record VALUES ('volume', 'data', ?)", body)
    database = Database(tmp_path)
    with pytest.raises(BadInputError, match="record of volume data: it is damaged"):
        Table(database, "volume")
    database.close()


def test_a_newer_state(tmp_path: Path) -> None:
    Database(tmp_path).close()
    change(tmp_path, "PRAGMA user_version=99")
    with pytest.raises(BadInputError, match=r"a newer gasang wrote it \(version 99\)"):
        Database(tmp_path)


def test_pages_that_are_damaged(tmp_path: Path) -> None:
    database = Database(tmp_path)
    table = Table(database, "volume")
    for number in range(300):
        table.put(f"volume{number}", {"text": "x" * 200})
    database.close()
    data = bytearray((tmp_path / "state.db").read_bytes())
    data[8192:-4096] = bytes(len(data) - 12288)
    (tmp_path / "state.db").write_bytes(data)
    database = Database(tmp_path)
    with pytest.raises(BadInputError, match="it cannot be read"):
        Table(database, "volume")
    database.close()


def test_a_full_disk(tmp_path: Path) -> None:
    """Nothing new is kept, but what is there can change and go."""
    with small_disk(tmp_path / "small", 1024) as place:
        database = Database(place)
        table = Table(database, "container")
        for number in range(20):
            table.put(f"old{number}", {"status": "running"})
        (place / "filler").write_bytes(bytes(64 << 10))
        with (place / "rest").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(place).f_bfree * os.statvfs(place).f_frsize)
        with pytest.raises(OutOfSpaceError, match=r"state .*: no space is left on its disk; free some"):
            table.put("new", {"text": "x" * 400_000})
        for number in range(20):
            table.put(f"old{number}", {"status": "exited"})
        for number in range(10):
            table.drop(f"old{number}")
        kept = set(table)
        database.close()
        database = Database(place)
        again = Table(database, "container")
        assert set(again) == kept
        assert again["old15"] == {"status": "exited"}
        database.close()
