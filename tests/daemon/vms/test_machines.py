"""Records of virtual machines: what is asked is looked at, names are one table's, and snapshots are listed whatever has become of them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.engine import Engine
from gasang.daemon.folders import Folders
from gasang.daemon.vms import ways
from gasang.daemon.vms.machines import Machines
from gasang.kinds.vm.agent.errors import NoAgentError

MACHINE = {"kernel": "/a/kernel", "memory": 64 << 20, "tty": True, "stdin": True}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(Folders(tmp_path / "state", tmp_path / "run"))
    yield made
    made.close()


def create(engine: Engine, name: str = "", host: dict[str, Any] | None = None, **settings: Any) -> Container:
    return asyncio.run(engine.machines.create({"Machine": {**MACHINE, **settings}, "HostConfig": host or {}, "Labels": {"a": "b"}}, name))


def test_a_machine_is_a_record_among_the_containers(engine: Engine) -> None:
    made = create(engine, "web", {"RestartPolicy": {"Name": "always"}})
    assert engine.containers.find("web") is made is engine.machines.find(made.short)
    assert (made.kind, made.image, made.config["Tty"], made.config["Labels"]) == (VM, "/a/kernel", True, {"a": "b"})
    assert made.machine["hostname"] == "web"
    assert made.subject == "machine web"
    assert engine.services.folder(made).is_dir()
    assert engine.services.folders.every() == [engine.services.folder(made)]
    assert (made.host["NetworkMode"], list(made.endpoints)) == ("none", ["none"])


def test_the_folders_of_a_family_are_together_and_go_with_the_last(engine: Engine) -> None:
    made, other = create(engine, "web"), create(engine, "other")
    assert engine.services.folder(made).parent != engine.services.folder(other).parent
    asyncio.run(engine.containers.remove(made, force=False, volumes=False))
    assert engine.services.folders.every() == [engine.services.folder(other)]
    assert len(list((engine.folders.state / "containers").iterdir())) == 1


def test_it_comes_back_from_its_record(engine: Engine) -> None:
    made = create(engine, "web")
    assert Container.of_record(made.as_record()) == made


def test_a_record_of_an_older_gasang_is_a_container(engine: Engine) -> None:
    record = create(engine, "web").as_record()
    del record["kind"], record["machine"]
    assert Container.of_record(record).kind == "container"


def test_a_name_is_taken_once_and_made_where_none_is_given(engine: Engine) -> None:
    create(engine, "web")
    with pytest.raises(StateError, match="already in use"):
        create(engine, "web")
    assert create(engine).name


@pytest.mark.parametrize(("name", "hostname"), [("my_web.one", "my-web-one"), ("a__b", "a-b"), ("x" * 100, "x" * 63)])
def test_a_guest_is_called_as_its_machine(engine: Engine, name: str, hostname: str) -> None:
    assert create(engine, name).machine["hostname"] == hostname


@pytest.mark.parametrize(
    ("settings", "host", "says"),
    [
        ({"cpus": 0}, {}, "machine setting cpus"),
        ({"snapshot": "/a"}, {}, "restored by its own verb"),
        ({}, {"Privileged": True}, "HostConfig.Privileged: a virtual machine has no such setting"),
        ({}, {"RestartPolicy": {"Name": "often"}}, "restart policy"),
        ({}, {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}, "choose --rm or --restart"),
        ({"environment": ["=x"]}, {}, "it has no name"),
        ({}, {"NetworkMode": "bridge"}, "only machines of images have a network card"),
        ({}, {"NetworkMode": "host"}, "a network of its own"),
        ({}, {"NetworkMode": "container:web"}, "a network of its own"),
        ({"network": {"mac": "odd"}}, {}, "network card"),
    ],
)
def test_what_cannot_be_is_refused(engine: Engine, settings: dict[str, Any], host: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        create(engine, "web", host, **settings)
    assert engine.containers.all() == []


def test_an_image_that_is_not_here(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GASANG_HOME", os.fspath(tmp_path))
    with pytest.raises(NotFoundError, match="try gasang pull"):
        create(engine, "web", kernel="", image="debian:trixie")


def test_what_containers_have_a_machine_has_not(engine: Engine) -> None:
    create(engine, "web")
    with pytest.raises(UnsupportedError, match="machine web: it is a virtual machine"):
        engine.containers.find_container("web")


def test_one_that_does_not_run_is_neither_kept_nor_forked(engine: Engine) -> None:
    made = create(engine, "web")
    for wish in (engine.machines.snapshot(made, "x"), engine.machines.fork(made, 1)):
        with pytest.raises(StateError, match="machine web: it is created; start it first"):
            asyncio.run(wish)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_impossible_numbers_of_twins(engine: Engine, count: int) -> None:
    with pytest.raises(UsageError, match="twins"):
        asyncio.run(engine.machines.fork(create(engine, "web"), count))


def test_twins_are_made_two_at_once_and_none_behind_one_that_failed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(engine, "web")
    made.status.status = "running"
    begun: list[int] = []

    async def flock(failing: int) -> list[int]:
        both = asyncio.Event()

        async def twin(parent: Container, room: object, written: object) -> int:
            begun.append(number := len(begun))
            if number == 1:
                both.set()
            await both.wait()
            if number == failing:
                raise StateError("fork of a machine", "it fails")
            return number

        monkeypatch.setattr(engine.machines, "_twin", twin)
        return await engine.machines.fork(made, 5)  # type: ignore[return-value]

    assert asyncio.run(flock(-1)) == [0, 1, 2, 3, 4]
    begun.clear()
    with pytest.raises(StateError, match="it fails"):
        asyncio.run(flock(1))
    assert len(begun) <= 3


class Writer:
    """An agent that is asked to write back; it does not answer before it may."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.may = threading.Event()

    def run(self, words: list[str], *, tool: bool) -> None:
        assert tool
        self.asked.append(words)
        assert self.may.wait(20)
        raise NoAgentError("guest", "it has ended", "")


def test_a_guest_writes_back_before_a_flock_of_its_twins_is_forked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made, writer = create(engine, "web"), Writer()
    made.status.status = "running"
    monkeypatch.setattr(engine.machines.ways, "agent", lambda container: writer)

    async def twin(parent: Container, room: object, written: asyncio.Future[None] | None) -> str:
        if written is None:
            return "at once"
        before = written.done()
        writer.may.set()
        await asyncio.wait([written])
        return "after" if before else "waited"

    monkeypatch.setattr(engine.machines, "_twin", twin)
    assert asyncio.run(engine.machines.fork(made, 3)) == ["at once"] * 3
    assert not writer.asked
    assert asyncio.run(engine.machines.fork(made, 4)) == ["waited", "waited", "after", "after"]
    assert writer.asked == [["sync"]]


def test_one_that_does_not_answer_is_not_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made, writer = create(engine, "web"), Writer()
    asyncio.run(engine.machines.ways.write_back(made))  # one that does not run is not asked
    made.status.status = "running"
    monkeypatch.setattr(engine.machines.ways, "agent", lambda container: writer)
    monkeypatch.setattr(ways, "WRITING_TIME", 0.05)
    asyncio.run(engine.machines.ways.write_back(made))
    assert writer.asked == [["sync"]]
    writer.may.set()


def test_changes_of_one_that_does_not_run(engine: Engine) -> None:
    made = create(engine, "web")
    change = {"Memory": 128 << 20, "NanoCpus": 1_500_000_000, "RestartPolicy": {"Name": "always"}}
    assert asyncio.run(engine.machines.update(made, change)) == []
    assert (made.machine["memory"], made.machine["cpus"]) == (128 << 20, 2)
    assert made.host["RestartPolicy"]["Name"] == "always"
    for wrong in ({"Memory": 1}, {"NanoCpus": 1 << 60}, {"RestartPolicy": {"Name": "often"}}):
        with pytest.raises(UsageError):
            asyncio.run(engine.machines.update(made, {**change, **wrong}))
    assert (made.machine["memory"], made.machine["cpus"]) == (128 << 20, 2)


def test_a_damaged_snapshot_is_listed_as_such_and_can_be_removed(engine: Engine) -> None:
    made = create(engine, "web")
    place = engine.services.folder(made) / "snapshots" / "odd"
    place.mkdir(parents=True)
    (place / "snapshot.json").write_bytes(b"odd")

    async def look(machines: Machines) -> None:
        [found] = await machines.snapshots(made)
        assert (found["Name"], found["Digest"]) == ("odd", "")
        assert "snapshot odd" in found["Error"]
        await machines.forget(made, "odd")
        assert await machines.snapshots(made) == []
        with pytest.raises(NotFoundError):
            await machines.forget(made, "odd")
        with pytest.raises(NotFoundError, match="gasang snapshot ls"):
            await machines.restore(made, "odd")

    asyncio.run(look(engine.machines))
