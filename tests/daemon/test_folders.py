from __future__ import annotations

from pathlib import Path

import pytest

from gasang.daemon.folders import Folders
from gasang.daemon.records import Database


def test_the_database_is_where_the_folders_say(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "state", tmp_path / "run")
    assert not folders.database.exists()
    Database(folders.state).close()
    assert folders.database.is_file()


def test_a_user_has_folders_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    folders = Folders.of({"XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/run/user/1000"})
    assert (folders.state, folders.socket) == (Path("/d/gasang"), Path("/run/user/1000/gasang/docker.sock"))
    assert Folders.of({"XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "relative"}).run == Path("/d/gasang/run")


def test_a_home_holds_both() -> None:
    folders = Folders.of({"GASANG_HOME": "/h"})
    assert (folders.state, folders.socket) == (Path("/h/data"), Path("/h/run/docker.sock"))
