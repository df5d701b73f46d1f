"""kill -9 in the middle of a snapshot, a restore and a fork: of the machine, of the daemon, of the process that machines are born in.

Whoever it hits and whenever: the snapshot of before is intact, the other machine is not touched, and what was half made is gone or whole.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import cycle, product

import pytest

from e2e.test_machines import Room, daemon_killed, nurseries
from gasang.api.client import Client, path_of
from gasang.core.errors import GasangError
from gasang.native.cache import default_directory
from support.engines.verbs import Gasang, served
from support.supervised import eventually as eventually_within
from support.talking import talking

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

eventually = partial(eventually_within, limit=60.0)
MOMENTS = (0.006, 0.04)
"""Seconds after the request, in turn: each act takes some of them."""


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with served() as command:
            yield command


@pytest.fixture
def room(gasang: Gasang) -> Iterator[Room]:
    """A machine web with a snapshot that was made when one key had been typed, and another machine."""
    made = Room(gasang)
    made.run()
    (gasang.home / "talking").write_bytes(talking())
    gasang("run", "-d", "--name", "other", "--memory", "64M", "--kernel", str(gasang.home / "talking"))
    assert made.seat().type(b"a") == b"a1"
    gasang("snapshot", "create", "web", "base")
    eventually(lambda: "up" in gasang("logs", "other"))
    yield made
    for seat in made.seats:
        seat.close()
    gasang("rm", "-f", *gasang("ps", "-aq").split())


ACTS = {
    "snapshot": ("snapshots", {"name": "second"}),
    "restore": ("restore", {"name": "base"}),
    "fork": ("fork", {"count": 4}),
}


def of_machine(room: Room) -> Callable[[], None]:
    return partial(os.kill, room.pid(), signal.SIGKILL)


def of_daemon(room: Room) -> Callable[[], None]:
    return partial(daemon_killed, room.gasang)


def of_nursery(room: Room) -> Callable[[], None]:
    return partial(os.kill, eventually(lambda: nurseries(room.gasang))[0], signal.SIGKILL)


VICTIMS = {"machine": of_machine, "daemon": of_daemon, "nursery": of_nursery}


KILLED = [(act, victim, moment) for (act, victim), moment in zip(product(ACTS, VICTIMS), cycle(MOMENTS), strict=False)]


@pytest.mark.parametrize(("act", "victim", "moment"), KILLED)
def test_killed_in_the_middle(act: str, victim: str, moment: float, gasang: Gasang, room: Room) -> None:
    verb, query = ACTS[act]
    kill = VICTIMS[victim](room)
    fault: list[str] = []

    def ask() -> None:
        try:
            Client(os.fspath(gasang.home / "run" / "docker.sock")).call("POST", path_of("gasang", "vms", "web", verb), query)
        except (GasangError, OSError) as error:
            fault.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(moment)
    with suppress(ProcessLookupError):  # a restore has ended it already
        kill()
    asking.join(60)
    assert not asking.is_alive()
    assert all(sentence and "Traceback" not in sentence for sentence in fault)
    _is_whole(gasang, room)


def _is_whole(gasang: Gasang, room: Room) -> None:
    """All that was there before, and of the rest nothing half made."""
    assert room.seat("other").type(b"o")[:1] == b"o"
    states = dict(line.split() for line in gasang("ps", "-a", "--format", "{name} {state}").splitlines())
    assert {"web", "other"} <= states.keys()
    assert set(states.values()) <= {"running", "exited", "created"}
    for name in states.keys() - {"web", "other"}:
        if states[name] == "running":
            assert room.seat(name).type(b"t") == b"t2"
    key = gasang.inspect("web", "Id")
    [store] = (gasang.home / "data" / "containers").glob(f"family-*/{key}/snapshots")
    for name in gasang("snapshot", "ls", "web", "--format", "{name}").split():
        gasang("restore", "web", name)
        assert room.seat().type(b"b") == b"b2"
    assert (store / "base").is_dir()
    gasang("snapshot", "create", "web", "third")
    gasang("fork", "web")
    assert not list(store.glob(".new-*"))
