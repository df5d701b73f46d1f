"""A machine and its twins are in one process namespace, with a first process that outlives them; the host knows them by other numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gasang.kinds.vm.process import apart
from gasang.kinds.vm.process.apart import HostPid, fork_apart, is_apart
from support.machine_processes import Machine, Machines
from support.privileges import needs_root
from support.supervised import eventually


def pid_of(machine: Machine) -> int:
    return int(machine.ask("status")["pid"])


def numbers(pid: int) -> list[int]:
    """What a process is called by us, and in each namespace below."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:"))
    return [int(word) for word in line.split()[1:]]


def namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@needs_root
def test_a_family_is_apart_and_outlives_its_first_machine(machines: Machines) -> None:
    machine = machines.talking()
    twin, facts = machines.twin(machine, "twin")
    grandchild, _ = machines.twin(twin, "grandchild")
    pids = [pid_of(each) for each in (machine, twin, grandchild)]
    assert pids[1] == facts["pid"]
    assert {namespace(pid) for pid in pids} == {namespace(pids[0])} != {namespace(os.getpid())}
    assert [numbers(pid)[0] for pid in pids] == pids
    first = parent_of(pids[0])
    assert numbers(first) == [first, 1]
    assert numbers(pids[0])[1] == 2
    other = machines.talking("other")
    assert namespace(pid_of(other)) not in {namespace(pids[0]), namespace(os.getpid())}
    os.kill(pids[0], signal.SIGKILL)
    assert machine.end().code == 137
    assert grandchild.type(b"a") == b"a1"
    twin.supervisor.signal(signal.SIGTERM)
    assert twin.end().code == 143
    assert grandchild.type(b"b") == b"b2"
    assert os.path.exists(f"/proc/{first}")
    grandchild.screen.socket.sendall(b"q")
    assert grandchild.end().code == 0
    eventually(lambda: not os.path.exists(f"/proc/{first}"))
    assert other.type(b"a") == b"a1"


@needs_root
def test_the_first_process_is_small_and_hears_nothing(machines: Machines) -> None:
    machine = machines.talking()
    first = parent_of(pid_of(machine))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(first, number)
    assert machine.type(b"a") == b"a1"
    sizes = dict(line.split(":") for line in Path(f"/proc/{first}/smaps_rollup").read_text().splitlines()[1:])
    assert int(sizes["Pss"].split()[0]) <= 64
    assert len(os.listdir(f"/proc/{first}/fd")) <= 3
    os.kill(first, signal.SIGKILL)  # whoever ends it ends the family
    assert machine.end().code == 137


def forked(make: Callable[[], int]) -> tuple[bool, int, int]:
    """Whether a child is apart, what the host calls it and what it calls itself."""
    told, telling = os.pipe()
    host = HostPid()
    if not make():
        os.write(telling, f"{is_apart():d} {host()} {os.getpid()}".encode())
        os._exit(0)
    os.close(telling)
    with open(told, "rb") as file:
        apart_, known, own = map(int, file.read().split())
    os.wait()
    return bool(apart_), known, own


@needs_root
def test_forks_afterwards_are_ours_again() -> None:
    assert forked(fork_apart)[::2] == (True, 2)
    found = forked(os.fork)
    assert not found[0]
    assert found[1] == found[2]


def test_who_may_not_make_one_forks_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "can_be_apart", lambda: False)
    found = forked(fork_apart)
    assert not found[0]
    assert found[1] == found[2]
    assert apart.leave_stand_in() is None


def test_a_host_that_refuses_one_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *words: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(apart, "can_be_apart", lambda: True)
    monkeypatch.setattr(apart, "call", refuse)
    assert not forked(fork_apart)[0]
