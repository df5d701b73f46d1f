"""The nursery: machines born of it are as others, it buries nobody's children but its own, and odd requests are nothing to it."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.kinds.vm.process import packets
from gasang.kinds.vm.process.client import ask
from gasang.kinds.vm.process.launch import launch_born
from gasang.kinds.vm.process.machine import SNAPSHOTS
from gasang.kinds.vm.process.nursery import READY as NURSERY_READY
from gasang.kinds.vm.process.nursery import STAND
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.process.stand_in import stand_in_file
from gasang.kinds.vm.process.told import FAILED, READY
from support.machine_processes import LOG, MEMORY, Machine, Machines
from support.supervised import eventually


class Nursery:
    """Its process and our end of its socket."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        with theirs:
            words = [sys.executable, "-m", "gasang.kinds.vm.process.nursery", str(theirs.fileno())]
            self.process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        assert self.socket.recv(packets.MOST) == NURSERY_READY

    def ask(self, words: dict[str, Any], *sockets: socket.socket, verb: str = "bear") -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [each.fileno() for each in sockets]))] if sockets else []
        self.socket.sendmsg([packets.request(verb, words)], rights)

    def bear(self, machines: Machines, name: str, **settings: Any) -> tuple[Machine, bytes]:
        """A machine, and what it told of its start."""
        made = MachineSettings(**{"memory": MEMORY, "kernel": str(machines.home / "kernel"), "stdin": True, **settings})
        launched, link = launch_born(machines.home / name, made, stand_in_file(machines.home), LOG)
        machine = Machine(machines.home / name, launched.supervisor)
        machines.all.append(machine)
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        with link, theirs:
            self.ask({"folder": str(machine.folder), "streams": machine.supervisor.start().pid}, link, theirs)
        with ours:
            return machine, ours.recv(4096)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.socket.close()
    assert made.process.wait(20) == 0


def test_a_machine_that_is_born(nursery: Nursery, machines: Machines) -> None:
    machine, told = nursery.bear(machines, "one")
    assert told == READY + str(machine.ask("status")["pid"]).encode()
    assert machine.screen.line() == b"up"
    assert machine.type(b"a") == b"a1"
    machine.ask("snapshot", name="base")
    twin, _ = machines.twin(machine, "twin")
    assert twin.type(b"b") == b"b2"
    again, told = nursery.bear(machines, "again", snapshot=str(machine.folder / SNAPSHOTS / "base"))
    assert again.type(b"c") == b"c2"
    machine.screen.socket.sendall(b"q")
    assert machine.end().code == 0
    again.supervisor.signal(signal.SIGTERM)
    assert again.end().code == 143
    twin.supervisor.signal(signal.SIGKILL)
    assert twin.end().code == 137


def test_one_that_is_killed_is_buried(nursery: Nursery, machines: Machines) -> None:
    machine, _ = nursery.bear(machines, "one")
    pid = machine.ask("status")["pid"]
    os.kill(pid, signal.SIGKILL)
    assert machine.end().code == 137
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_who_asks_hears_of_its_end_while_machines_live(machines: Machines) -> None:
    """Their families' first processes are forked from it, and outlive it."""
    nursery = Nursery()
    machine, _ = nursery.bear(machines, "one")
    nursery.process.kill()
    nursery.process.wait(20)
    with nursery.socket as connection:
        assert connection.recv(packets.MOST) == b""
    assert machine.screen.line() == b"up"
    assert machine.type(b"a") == b"a1"


def test_one_that_cannot_start_says_why(nursery: Nursery, machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"odd" * 99)
    machine, told = nursery.bear(machines, "one", kernel=str(tmp_path / "odd"))
    assert told.startswith(FAILED + b"kernel ")
    assert machine.end().code == 125


def test_settings_that_are_not_there(nursery: Nursery, tmp_path: Path) -> None:
    link, ours = socket.socketpair()
    told, theirs = socket.socketpair()
    with link, ours, told, theirs:
        nursery.ask({"folder": str(tmp_path), "streams": os.getpid()}, ours, theirs)
        told.settimeout(20)
        assert told.recv(4096).startswith(FAILED + b"settings ")


@pytest.mark.parametrize("words", [{}, {"folder": 5, "streams": 1}, {"folder": "/tmp", "streams": "1"}, {"folder": "/tmp", "streams": 1}])
def test_odd_requests(nursery: Nursery, machines: Machines, words: dict[str, Any]) -> None:
    nursery.ask(words)
    nursery.socket.sendall(b"odd")
    _, told = nursery.bear(machines, "one")
    assert told.startswith(READY)


def test_machines_outlive_it(machines: Machines) -> None:
    own = Nursery()
    machine, _ = own.bear(machines, "one")
    own.socket.close()
    assert own.process.wait(20) == 0
    assert machine.screen.line() == b"up"
    assert machine.type(b"a") == b"a1"
    machine.screen.socket.sendall(b"q")
    assert machine.end().code == 0


def stand(nursery: Nursery, machines: Machines, name: str, snapshot: str, heir: str = "") -> tuple[Path, socket.socket, bytes]:
    """One that waits for being forked: its folder, its link, and what it told. What it forks replaces the machine in `heir`."""
    folder = machines.home / name
    folder.mkdir()
    MachineSettings(memory=MEMORY, kernel=str(machines.home / "kernel"), stdin=True, snapshot=snapshot).write(folder)
    link, theirs = socket.socketpair()
    ours, told = socket.socketpair()
    ours.settimeout(60)
    with theirs, told:
        nursery.ask({"folder": str(folder), "heir": heir}, theirs, told, verb=STAND)
    with ours:
        return folder, link, ours.recv(4096)


def test_one_that_stands_is_forked_again_and_again_where_the_snapshot_was_made(nursery: Nursery, machines: Machines) -> None:
    machine, _ = nursery.bear(machines, "one")
    assert machine.screen.line() == b"up"
    assert machine.type(b"a") == b"a1"
    machine.ask("snapshot", name="base")
    folder, link, told = stand(nursery, machines, "standing", str(machine.folder / SNAPSHOTS / "base"))
    assert told.startswith(READY), told
    pid = int(told[1:])
    assert ask(folder, "status")["paused"]
    for name in ("two", "three"):
        restored, found = machines.twin(Machine(folder, machine.supervisor), name)
        assert found["pid"] == restored.ask("status")["pid"] != pid
        assert restored.type(b"b") == b"b2"
        restored.supervisor.signal(signal.SIGTERM)
        assert restored.end().code == 143
    link.close()
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    machine.screen.socket.sendall(b"q")
    assert machine.end().code == 0


def is_served(place: Path) -> bool:
    """Whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        return client.connect_ex(str(place)) == 0


def test_the_next_restore_is_forked_ahead(nursery: Nursery, machines: Machines) -> None:
    machine, _ = nursery.bear(machines, "one")
    assert machine.screen.line() == b"up"
    assert machine.type(b"a") == b"a1"
    machine.ask("snapshot", name="base")
    heir = machines.home / "two"
    heir.mkdir()
    folder, link, told = stand(nursery, machines, "standing", str(machine.folder / SNAPSHOTS / "base"), str(heir))
    assert told.startswith(READY), told
    standing, generations, ahead = Machine(folder, machine.supervisor), set(), 0
    for _ in range(6):
        eventually(lambda: is_served(heir / "machine.next"))
        restored, found = machines.twin(standing, "two", replaces=True)
        assert found["pid"] == restored.ask("status")["pid"]
        assert restored.type(b"b") == b"b2"
        generations.add(found["name"])
        ahead += found["ahead"]
        restored.supervisor.signal(signal.SIGTERM)
        assert restored.end().code == 143
    assert ahead > 0
    assert len(generations) == 6
    other, found = machines.twin(standing, "three", replaces=True)
    assert not found["ahead"]
    assert other.type(b"b") == b"b2"
    other.supervisor.signal(signal.SIGTERM)
    assert other.end().code == 143
    eventually(lambda: is_served(machines.home / "three" / "machine.next"))
    link.close()
    eventually(lambda: not is_served(machines.home / "three" / "machine.next"))
    machine.screen.socket.sendall(b"q")
    assert machine.end().code == 0


def test_one_that_cannot_stand_says_why(nursery: Nursery, machines: Machines, tmp_path: Path) -> None:
    _, link, told = stand(nursery, machines, "standing", str(tmp_path / "none"))
    with link:
        assert told.startswith(FAILED + b"snapshot none")
