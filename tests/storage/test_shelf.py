"""Named disks: whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import GasangError
from gasang.storage.appliance.ovf import Appliance
from gasang.storage.shelf import Shelf, describe

MACHINE = Appliance("web", 2, 1 << 30, (), ("nat",))


def test_a_name_is_there_when_all_of_it_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "disks")
    with pytest.raises(FileNotFoundError), shelf.adding("web") as folder:
        (folder / "half").rename(folder / "absent" / "whole")
    assert list(shelf.root.iterdir()) == []
    with shelf.adding("web") as folder:
        (folder / "disk0.raw").write_bytes(b"whole")
        assert shelf.disk("web") is None
        describe(folder, MACHINE, 1)
    assert shelf.disk("web") == shelf.disk("web/0") == tmp_path / "disks" / "web" / "disk0.raw"
    assert shelf.disk("web/1") is None
    assert shelf.machine("web") == (MACHINE, 1)
    assert shelf.names() == ["web"]
    with pytest.raises(GasangError, match="one of that name"), shelf.adding("web"):
        pass


def test_a_name_is_forgotten(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "disks")
    assert shelf.names() == []
    with shelf.adding("web") as folder:
        (folder / "disk0.qcow2").write_bytes(b"of an earlier version")
        describe(folder, MACHINE, 1)
    assert shelf.disk("web") == tmp_path / "disks" / "web" / "disk0.qcow2"
    abandoned = shelf.root / ".new-killed"
    abandoned.mkdir()
    shelf.remove("web")
    assert list(shelf.root.iterdir()) == [abandoned]
    shelf.sweep()
    assert abandoned.exists()
    os.utime(abandoned, (0, 0))
    shelf.sweep()
    assert list(shelf.root.iterdir()) == []
    with pytest.raises(GasangError, match="none of that name"):
        shelf.remove("web")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".new-x", "-x", "web/../../x", "x" * 200])
def test_what_is_no_name(name: str, tmp_path: Path) -> None:
    assert Shelf(tmp_path).disk(name) is None
    with pytest.raises(GasangError, match="signs"), Shelf(tmp_path).adding(name):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "a", "cpus": "x", "memory": 1, "cards": [], "disks": 1}'])
def test_a_damaged_description(text: str, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "machine.json").write_text(text)
    with pytest.raises(GasangError, match="damaged"):
        Shelf(tmp_path).machine("web")
    with pytest.raises(GasangError, match="none of that name"):
        Shelf(tmp_path).machine("other")
