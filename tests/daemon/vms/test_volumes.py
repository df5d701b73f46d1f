"""Volumes of machines behind a daemon: twins' go with them, and what is held for nobody is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError
from gasang.daemon.containers.record import Container
from gasang.daemon.engine import Engine
from gasang.daemon.folders import Folders
from gasang.daemon.vms.volumes import VOLUMES
from gasang.kinds.vm.snapshot.document import DiskRecord, Document, MemoryRecord, encode
from gasang.kinds.vm.snapshot.folder import DOCUMENT
from gasang.storage.volumes.folder import read_record
from gasang.storage.volumes.machine_disk import MachineDisk

SIZE = 32 << 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(Folders(tmp_path / "state", tmp_path / "run"))
    yield made
    made.close()


@pytest.fixture
def data(engine: Engine) -> Path:
    return Path(engine.volumes.create("data", {}, "disk", {"size": str(SIZE)})["Mountpoint"])


def machine(engine: Engine, name: str, volume: Path) -> Container:
    wish: dict[str, Any] = {"kernel": "/a/kernel", "memory": 64 << 20}
    made = asyncio.run(engine.machines.create({"Machine": wish, "HostConfig": {}, "Labels": {}}, name))
    made.machine["volumes"] = [[str(volume), "/data", False]]
    engine.containers.save(made)
    return made


def hold(volume: Path, container: Container, name: str) -> str:
    held = f"{name}@{container.short}"
    with closing(MachineDisk.open(volume)) as disk, disk.steady():
        disk.freeze()
        disk.hold(held)
    return held


def test_what_is_held_for_nobody_is_let_go_with_the_daemons_start(engine: Engine, data: Path) -> None:
    web, gone = machine(engine, "web", data), machine(engine, "gone", data)
    for container, name in ((web, "base"), (web, "half"), (gone, "base")):
        hold(data, container, name)
    with closing(MachineDisk.open(data)) as disk:
        disk.snapshot("mine")
        disk.hold("base@x01234567890")
    store = engine.machines.volumes.store(web)
    (store / "base").mkdir(parents=True)
    (store / ".new-half-0").mkdir()
    asyncio.run(engine.containers.remove(gone, force=False, volumes=False))
    assert f"base@{gone.short}" not in read_record(data).snapshots, "it went with its machine"
    asyncio.run(engine.machines.volumes.sweep())
    assert sorted(read_record(data).snapshots) == sorted([f"base@{web.short}", "mine", "base@x01234567890"])
    hold(data, web, "half")
    web.status.status = "running"  # it may be making it
    asyncio.run(engine.machines.volumes.sweep())
    assert f"half@{web.short}" in read_record(data).snapshots
    web.status.status = "exited"
    with pytest.raises(StateError, match=rf"machines' snapshots need it: base@{web.short}, .*half@{web.short};"):
        engine.volumes.remove("data", engine.containers.users_of_volume("data"))


def test_a_machines_snapshot_goes_with_what_its_volumes_hold(engine: Engine, data: Path) -> None:
    web = machine(engine, "web", data)
    hold(data, web, "base")
    place = engine.machines.volumes.store(web) / "base"
    place.mkdir(parents=True)
    asyncio.run(engine.machines.forget(web, "base"))
    assert not read_record(data).snapshots
    with pytest.raises(NotFoundError):
        asyncio.run(engine.machines.forget(web, "base"))


def test_a_twins_volumes_are_its_own_and_go_with_it(engine: Engine, data: Path) -> None:
    web, twin = machine(engine, "web", data), machine(engine, "web-1", data)
    engine.volumes.create("data-web-1", {}, "disk", {"size": str(SIZE)})
    with closing(MachineDisk.open(data)) as disk:
        layer = disk.freeze()
        own = engine.machines.ways.folder(twin) / VOLUMES
        place = engine.volumes.heir_disk(data, layer, SIZE, own, "web-1")
        again = engine.volumes.heir_disk(place, read_record(place).layers[read_record(place).top].below, SIZE, own, "web-1-1")
    assert (place, again.name) == (own / "data-web-1-2", "data-web-1-1")
    twin.machine["volumes"] = [[str(place), "/data", False]]
    found = engine.volumes.find("data-web-1-2")
    assert (found["Mountpoint"], found["Options"]["clone"], engine.volumes.is_anonymous("data-web-1-2")) == (str(place), "data", True)
    assert engine.containers.users_of_volume("data-web-1-2") == [twin.id]
    assert engine.containers.users_of_volume("data") == [web.id]
    asyncio.run(engine.disk_volumes.act("data-web-1-2", "snapshot", {"name": "one"}))
    assert [kept["Name"] for kept in asyncio.run(engine.disk_volumes.snapshots("data-web-1-2"))] == ["one"]
    asyncio.run(engine.containers.remove(twin, force=False, volumes=False))
    assert [entry["Name"] for entry in engine.volumes.all()] == ["data", "data-web-1"]
    assert not place.exists()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ({"Layer": "0" * 16, "Size": SIZE}, StateError),
        ({"Layer": "../../x", "Size": SIZE}, StateError),
        ({"Layer": 7, "Size": SIZE}, BadInputError),
        ([], BadInputError),
    ],
)
def test_a_twin_that_was_not_completed_leaves_nothing(
    engine: Engine, data: Path, monkeypatch: pytest.MonkeyPatch, says: object, error: type[GasangError]
) -> None:
    web = machine(engine, "web", data)
    web.status.status = "running"

    async def ask(container: Container, verb: str, words: Any = None, patience: float = 0) -> Any:
        assert (container.id, verb) == (web.id, "share")
        return {str(data): says}

    monkeypatch.setattr(engine.machines.ways, "ask", ask)
    with pytest.raises(error):
        asyncio.run(engine.machines.fork(web, 1))
    assert [entry.name for entry in engine.containers.all()] == ["web"]
    assert [entry["Name"] for entry in engine.volumes.all()] == ["data"]
    assert engine.services.folders.every() == [engine.machines.ways.folder(web)]


def test_a_snapshot_that_names_other_volumes_is_refused(engine: Engine, data: Path) -> None:
    web = machine(engine, "web", data)
    other = Path(engine.volumes.create("other", {}, "disk", {"size": str(SIZE)})["Mountpoint"])
    store = engine.machines.volumes.store(web)
    for name, named in (("base", [data]), ("odd", [other]), ("more", [data, other]), ("none", [])):
        disks = tuple(DiskRecord("", SIZE, 0, "", "", read_only=False, volume=str(place), kept="base@0123456789ab") for place in named)
        (store / name).mkdir(parents=True)
        made = Document("riscv64", {}, MemoryRecord(0, 0, "0" * 64, ()), disks, {}, "", "")
        (store / name / DOCUMENT).write_bytes(encode(made))
        if name == "base":
            assert asyncio.run(engine.machines.volumes.kept(web, name)) == list(disks)
            continue
        with pytest.raises(BadInputError, match="with other volumes"):
            asyncio.run(engine.machines.volumes.kept(web, name))


def test_a_daemon_that_was_killed_over_a_twin(engine: Engine, data: Path) -> None:
    twin = machine(engine, "web-1", data)
    with closing(MachineDisk.open(data)) as disk:
        place = engine.volumes.heir_disk(data, disk.freeze(), SIZE, engine.machines.ways.folder(twin) / VOLUMES, "web-1")
    twin.status.status = "creating"
    engine.containers.save(twin)
    asyncio.run(engine.recover())
    assert engine.containers.all() == []
    assert not place.exists()
    assert [entry["Name"] for entry in engine.volumes.all()] == ["data"]
