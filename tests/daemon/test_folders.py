from __future__ import annotations

from pathlib import Path

from gasang.daemon.folders import Folders
from gasang.daemon.records import Database


def test_the_database_is_where_the_folders_say(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "state", tmp_path / "run")
    assert not folders.database.exists()
    Database(folders.state).close()
    assert folders.database.is_file()


def test_a_home_holds_both() -> None:
    folders = Folders.of({"GASANG_HOME": "/h"})
    assert (folders.state, folders.socket) == (Path("/h/data"), Path("/h/run/docker.sock"))
