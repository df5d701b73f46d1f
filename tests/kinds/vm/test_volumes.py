"""Volumes of a machine: a disk each, formatted once, alone; and what can be done to one while its machine runs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from gasang.core.errors import GasangError, StateError, UnsupportedError, UsageError
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.volumes import AttachedVolume, attach, bequeathed, change, share, written
from gasang.storage.volumes.folder import create, read_record
from gasang.storage.volumes.volume import Volume

SIZE = 32 << 20


class Guest:
    """Hears what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.refuses = False

    def sync(self) -> None:
        self.heard.append("sync")

    def grow(self, target: str, size: int) -> None:
        if self.refuses:
            raise GasangError("guest", "it refuses", "")
        self.heard.append((target, size))


class Machine:
    """Has disks."""

    def __init__(self, devices: list[Any]) -> None:
        self._devices = devices

    def disks(self) -> list[Any]:
        return self._devices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "data", SIZE)
    return tmp_path / "data"


def attached(folder: Path, cleanup: ExitStack, *, read_only: bool = False) -> tuple[AnyMachine, list[tuple[str, str, bool]]]:
    devices, workers = attach([AttachedVolume(folder, "/data", read_only)], lambda sentence: None, cleanup)
    assert len(workers) == 1
    return cast("AnyMachine", Machine(list(devices))), [(str(folder), "/data", read_only)]


def test_it_is_formatted_once_and_given_back(folder: Path) -> None:
    with ExitStack() as cleanup, pytest.raises(StateError, match="no file system"):
        attached(folder, cleanup, read_only=True)
    with ExitStack() as cleanup:
        attached(folder, cleanup)
        assert read_record(folder).file_system == "ext4"
        with ExitStack() as other, pytest.raises(StateError, match="in use"):
            attached(folder, other)
    with ExitStack() as cleanup:
        attached(folder, cleanup, read_only=True)
        attached(folder, cleanup, read_only=True)
    Volume.open(folder).close()


def test_what_its_machine_does(folder: Path) -> None:
    guest = Guest()
    with ExitStack() as cleanup:
        vm, settings = attached(folder, cleanup)
        assert change(vm, guest, settings, {"volume": "data", "act": "snapshot", "name": "one"})["Name"] == "one"
        told = change(vm, guest, settings, {"volume": "data", "act": "resize", "size": SIZE * 2})
        assert told == {"Size": SIZE * 2, "Grown": ""}
        assert guest.heard == ["sync", ("/data", SIZE * 2)]
        assert int.from_bytes(vm.disks()[0].config()[:8], "little") == SIZE * 2 // 512
        guest.refuses = True
        assert "refuses" in change(vm, guest, settings, {"volume": "data", "act": "resize", "size": SIZE * 3})["Grown"]
        assert "hears" in change(vm, None, settings, {"volume": "data", "act": "resize", "size": SIZE * 4})["Grown"]
        with pytest.raises(StateError, match="runs"):
            change(vm, guest, settings, {"volume": "data", "act": "apply", "name": "one"})
        for words, error in (({"volume": "other", "act": "freeze"}, UnsupportedError), ({"volume": "data", "act": "x"}, UsageError)):
            with pytest.raises(error):
                change(vm, guest, settings, words)
    assert list(read_record(folder).snapshots) == ["one"]


def test_a_twin_has_the_volume_that_was_made_for_it(folder: Path, tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        vm, _ = attached(folder, cleanup)
        [volume] = written(vm)
        assert share(vm) == {str(folder): {"Layer": volume.record.layers[volume.record.top].below, "Size": SIZE}}
        with bequeathed(vm, {str(folder): str(tmp_path / "twin")}):
            assert volume.heir == tmp_path / "twin"
        assert volume.heir is None
    with ExitStack() as cleanup:
        vm, _ = attached(folder, cleanup, read_only=True)
        assert (written(vm), share(vm)) == ([], {})


def test_targets_are_looked_at(folder: Path) -> None:
    with pytest.raises(UsageError, match="absolute"):
        AttachedVolume(folder, "data")
