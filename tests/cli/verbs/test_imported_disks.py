"""``gasang rmi`` of disks that were imported under a name: not while a machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.cli import main as command
from gasang.daemon.folders import Folders
from gasang.storage.appliance.ovf import Appliance
from gasang.storage.raw import Raw
from gasang.storage.shelf import describe, user_shelf
from support.fake_daemon import FakeDaemon

KEY = "b" * 64


@pytest.fixture
def disk(daemon: FakeDaemon) -> Path:
    """The file of a disk that was imported as `old`, beside a daemon that knows one machine."""
    with user_shelf().adding("old") as folder:
        (folder / "disk0.raw").write_bytes(bytes(4096))
        describe(folder, Appliance("old", 1, 1 << 30, (), ()), 1)
    database = Folders.of(os.environ).database
    database.parent.mkdir(parents=True, exist_ok=True)
    database.touch()
    daemon.tells("GET /containers/json", [{"Id": KEY}])
    return user_shelf().folder("old") / "disk0.raw"


def known(daemon: FakeDaemon, *disks: Path) -> None:
    """Have the daemon know a machine with these disks."""
    given = [[str(disk), False, {"form": "raw"}] for disk in disks]
    daemon.tells(f"GET /containers/{KEY}/json", {"Id": KEY, "Name": "/web", "Machine": {"disks": given}})


def test_what_nobody_has_is_removed(disk: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    known(daemon, disk.parent.parent / "other" / disk.name)
    assert command.main(["rmi", "old"]) == 0
    assert capsys.readouterr().out == "removed old\n"
    assert not disk.exists()


def test_what_a_machine_has_is_not_removed_unless_forced(disk: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    known(daemon, disk)
    assert command.main(["rmi", "old"]) == 4
    assert "machine web has it" in capsys.readouterr().err
    assert disk.exists()
    assert command.main(["rmi", "--force", "old"]) == 0
    assert not disk.exists()


def test_what_a_running_machine_has_open_is_never_removed(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = Raw.open(disk)
    try:
        assert command.main(["rmi", "--force", "old"]) == 4
    finally:
        held.close()
    assert "another machine has it open" in capsys.readouterr().err
    assert disk.exists()


def test_a_container_has_no_disks_of_machines(disk: Path, daemon: FakeDaemon) -> None:
    daemon.tells(f"GET /containers/{KEY}/json", {"Id": KEY, "Name": "/box"})
    assert command.main(["rmi", "old"]) == 0


def test_where_there_was_never_a_daemon_nobody_is_asked(disk: Path, daemon: FakeDaemon) -> None:
    Folders.of(os.environ).database.unlink()
    assert command.main(["rmi", "old"]) == 0
    assert daemon.of("GET /containers/json") == []
