"""Volumes of a daemon: folders and disks under one roof of names."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError, NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.engine import Engine
from gasang.daemon.folders import Folders
from gasang.storage.volumes.volume import Volume

SIZE = {"size": "32M"}
MACHINE = {"image": "x", "memory": 64 << 20}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(Folders(tmp_path / "state", tmp_path / "run"))
    yield made
    made.close()


def test_a_disk_is_told_as_any_volume(engine: Engine) -> None:
    made = engine.volumes.create("data", {"a": "b"}, "disk", {**SIZE, "format": "raw"})
    assert (made["Driver"], made["Options"], made["Labels"]) == ("disk", {"size": str(32 << 20), "format": "raw"}, {"a": "b"})
    assert (made["Status"]["Size"], made["Status"]["Format"]) == (32 << 20, "raw")
    assert made["Mountpoint"] == str(engine.volumes.disk("data"))
    assert engine.volumes.used(made) < 1 << 20
    folder = engine.volumes.create("files", {})
    assert (folder["Driver"], engine.volumes.disk("files")) == ("local", None)
    assert [entry["Name"] for entry in engine.volumes.all()] == ["data", "files"]
    engine.volumes.remove("data", [])
    assert not os.path.exists(made["Mountpoint"])


@pytest.mark.parametrize(
    ("driver", "options", "error"),
    [
        ("disk", {}, UsageError),
        ("disk", {"size": "1K"}, UsageError),
        ("disk", {**SIZE, "format": "vmdk"}, UsageError),
        ("disk", {**SIZE, "colour": "red"}, UsageError),
        ("nfs", {}, UnsupportedError),
    ],
)
def test_what_no_volume_is(engine: Engine, driver: str, options: dict[str, str], error: type[GasangError]) -> None:
    with pytest.raises(error):
        engine.volumes.create("data", {}, driver, options)
    assert not engine.volumes.all()


def test_a_disk_is_no_folder_and_the_other_way_round(engine: Engine) -> None:
    engine.volumes.create("data", {}, "disk", SIZE)
    engine.volumes.create("files", {})
    for options in (SIZE, {}, None):  # a machine names it without its size
        assert engine.volumes.create("data", {}, "disk", options)["Name"] == "data"
    with pytest.raises(StateError, match=r"it is there, with 32 MiB.*gasang volume resize data"):
        engine.volumes.create("data", {}, "disk", {"size": "64M"})
    with pytest.raises(StateError, match="a disk"):
        engine.volumes.create("data", {})
    with pytest.raises(StateError, match="a folder"):
        engine.volumes.create("files", {}, "disk", SIZE)
    with pytest.raises(UnsupportedError, match="folder"):
        asyncio.run(engine.disk_volumes.clone("files", "copy"))


def test_snapshots_clones_and_sizes(engine: Engine) -> None:
    engine.volumes.create("data", {}, "disk", SIZE)

    async def work() -> list[dict[str, Any]]:
        disks = engine.disk_volumes
        await disks.act("data", "snapshot", {"name": "one"})
        await disks.act("data", "resize", {"size": 64 << 20})
        await disks.clone("data", "copy")
        await disks.clone("data", "old", "one")
        for wrong in (("copy", ""), ("../x", ""), ("new", "two")):
            with pytest.raises(GasangError):
                await disks.clone("data", *wrong)
        with pytest.raises(NotFoundError):
            await disks.act("nothing", "freeze", {})
        return await disks.snapshots("data")

    assert [kept["Name"] for kept in asyncio.run(work())] == ["one"]
    assert {entry["Name"]: entry["Status"]["Size"] >> 20 for entry in engine.volumes.all()} == {"data": 64, "copy": 64, "old": 32}


def test_who_has_it_open_keeps_it(engine: Engine) -> None:
    made = engine.volumes.create("data", {}, "disk", SIZE)
    with closing(Volume.open(Path(made["Mountpoint"]))):
        with pytest.raises(StateError, match="in use"):
            engine.volumes.remove("data", [])
        with pytest.raises(StateError, match="foreground"):
            asyncio.run(engine.disk_volumes.act("data", "snapshot", {"name": "one"}))
    engine.volumes.remove("data", [])


def test_one_that_is_damaged_is_told_and_removed(engine: Engine) -> None:
    made = engine.volumes.create("data", {}, "disk", SIZE)
    (Path(made["Mountpoint"]) / "volume.json").write_text("{}")
    assert "damaged" in engine.volumes.find("data")["Status"]["Error"]
    engine.volumes.remove("data", [])
    shutil.rmtree(engine.folders.volume("other"), ignore_errors=True)
    engine.folders.volume("other").mkdir(parents=True)  # a making that was broken off
    assert engine.volumes.create("other", {}, "disk", SIZE)["Status"]["Size"] == 32 << 20
