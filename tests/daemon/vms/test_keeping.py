"""What backups need of machines that do not run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gasang.core.errors import StateError, UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.engine import Engine
from gasang.daemon.folders import Folders
from gasang.images.ready import BootFiles
from gasang.kinds.vm.process.births import FILES, note_files, noted_files, own_disk
from gasang.kinds.vm.snapshot.disks import IDENTITY
from gasang.storage.chain import frozen
from gasang.storage.raw import Raw


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(Folders(tmp_path / "state", tmp_path / "run"))
    yield made
    made.close()


@pytest.fixture
def machine(engine: Engine) -> Container:
    wish = {"Machine": {"kernel": "/a/kernel", "memory": 64 << 20}, "HostConfig": {}, "Labels": {"a": "b"}}
    return asyncio.run(engine.machines.create(wish, "web"))


def test_one_that_was_never_started_is_its_settings(engine: Engine, machine: Container) -> None:
    found = asyncio.run(engine.keeping.freeze(machine))
    assert (found["Name"], found["Files"], found["Labels"]) == ("web", {}, {"a": "b"})
    assert found["Machine"]["kernel"] == "/a/kernel"


def test_its_disk_as_it_is_now(engine: Engine, machine: Container, tmp_path: Path) -> None:
    for name in ("kernel", "initrd"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    folder = engine.services.folder(machine)
    note_files(folder / FILES, BootFiles(tmp_path / "kernel", tmp_path / "initrd", tmp_path / "disk", "quiet"))
    with closing(own_disk(tmp_path / "disk", folder)) as disk:
        disk.write(8192, b"first")
    found = asyncio.run(engine.keeping.freeze(machine))
    assert found["Files"]["Append"] == "quiet"
    with closing(own_disk(tmp_path / "disk", folder)) as disk:
        disk.write(8192, b"later")
    into = Path(found["Folder"])
    with closing(frozen(Raw.open(tmp_path / "disk", read_only=True), into, IDENTITY)) as disk:
        assert disk.read(8192, 5) == b"first"
        assert list(disk.written()) == [(8192, 4096)]
        first = disk.layers()
    again = asyncio.run(engine.keeping.freeze(machine))
    with closing(frozen(Raw.open(tmp_path / "disk", read_only=True), Path(again["Folder"]), IDENTITY)) as disk:
        assert disk.read(8192, 5) == b"later"
        assert disk.layers()[: len(first)] == first, "what a backup has is known again"
        assert list(disk.written(len(first))) == [(8192, 4096)]
    asyncio.run(engine.keeping.thaw(machine))
    assert not into.exists()


def test_one_that_boots_from_what_was_kept(engine: Engine, machine: Container) -> None:
    given = asyncio.run(engine.keeping.adopt(machine, {"Append": "quiet", "Disks": [True]}))
    files = noted_files(engine.services.folder(machine) / FILES)
    assert (files.disk, files.append) == (Path(given["Folder"]) / "disk", "quiet")
    assert machine.machine["disks"] == [[given["Disks"][0], True]]
    asyncio.run(engine.machines.ways.sweep())
    assert Path(given["Folder"]).is_dir(), "what a note names stays"
    with pytest.raises(StateError, match="started already"):
        asyncio.run(engine.keeping.adopt(machine, {}))
    with pytest.raises(UsageError):
        asyncio.run(engine.keeping.adopt(machine, {"Disks": ["x"]}))
