"""Machines' processes: console, log and end by their supervisor; pause, snapshot, restore and fork by their control socket."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gasang.accel.soft.jit.messages import PLACES, Page, Request
from gasang.accel.soft.jit.store import RegionStore, default_folder
from gasang.accel.soft.jit.worker import serve
from gasang.core.errors import NotFoundError, OutOfSpaceError, StateError, UsageError
from gasang.cpus.riscv64.state import PAGE_SIZE
from gasang.kinds.container.supervisor.status import read_exit
from gasang.kinds.vm.process.client import ask, ask_fork
from gasang.kinds.vm.process.machine import SNAPSHOTS
from gasang.kinds.vm.process.settings import REQUIRED
from gasang.kinds.vm.process.told import FAILED, READY
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.native import target
from gasang.native.cache import default_directory
from support.assembler import T0, addi, assemble, jump
from support.kernels import image
from support.machine_processes import LOG, Machine, Machines, Seat
from support.supervised import eventually

PATIENCE = 120
HAS_STENCILS = target.machine() == "x86_64"


def log(machine: Machine) -> str:
    return "".join(json.loads(line)["log"] for line in (machine.folder / LOG.name).read_bytes().splitlines())


def test_its_console_is_its_streams_and_its_log(machines: Machines) -> None:
    machine = machines.talking()
    assert machine.type(b"x") == b"x1"
    assert machine.type(b"yz") == b"z3"
    machine.screen.socket.sendall(b"q")
    assert machine.end().code == 0
    assert log(machine) == "up\nx1\ny2\nz3\nq4\n"
    assert not (machine.folder / "machine").exists()


def test_several_sit_at_it_at_once(machines: Machines) -> None:
    machine = machines.talking()
    second = Seat(machine.supervisor, stdin=True)
    assert machine.type(b"a") == second.line() == b"a1"
    assert second.type(b"b") == machine.screen.line() == b"b2"


def test_a_terminal_is_raw_to_its_guest(machines: Machines) -> None:
    machine = machines.talking(tty=True)
    machine.supervisor.resize(40, 100)
    assert machine.type(b"\x03") == b"\x031"


def test_its_status_and_figures(machines: Machines) -> None:
    machine = machines.talking(cpus=2)
    found = machine.ask("status")
    assert (found["paused"], found["memory"], found["cpus"]) == (False, 64 << 20, 2)
    assert os.readlink(f"/proc/{found['pid']}/exe") == os.path.realpath(sys.executable)
    assert os.readlink(f"/proc/{machine.supervisor.status().pid}/exe").endswith("gasang-stand-in (deleted)")
    figures = machine.ask("stats")
    assert figures["guest"] == 64 << 20
    assert 0 < figures["private"] <= figures["resident"]


def test_its_hot_code_is_compiled_in_jail(machines: Machines) -> None:
    (machines.home / "busy").write_bytes(image(assemble(addi(T0, T0, 1), jump(-4))))
    machine, told = machines.launch(kernel=str(machines.home / "busy"), jit="on", jail=REQUIRED)
    assert told.startswith(READY)
    eventually(lambda: (machine.ask("stats")["jit"]["stitched"]["stretches"] > 0) == HAS_STENCILS, PATIENCE)
    eventually(lambda: machine.ask("stats")["jit"]["coverage"] > 0.05, PATIENCE)
    pid = machine.ask("status")["pid"]
    [compiler] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    twin, _ = machines.twin(machine, "two")
    assert twin.ask("stats")["jit"]["regions"] == machine.ask("stats")["jit"]["regions"]
    machine.ask("stop")
    assert machine.end().code == 128 + signal.SIGTERM
    assert not Path("/proc", compiler).exists()  # the twin does not hold it
    before = twin.ask("stats")["jit"]["instructions"]
    eventually(lambda: twin.ask("stats")["jit"]["instructions"] > before + 1_000_000, PATIENCE)


def test_what_earlier_machines_have_compiled_is_at_hand_in_jail(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(default_directory(), tmp_path / "native", ignore=shutil.ignore_patterns("regions"))
    monkeypatch.setenv("GASANG_NATIVE_CACHE", str(tmp_path / "native"))
    loop = assemble(addi(T0, T0, 1), jump(-4))
    (machines.home / "busy").write_bytes(image(loop))
    content = image(loop)[:PAGE_SIZE].ljust(PAGE_SIZE, b"\0")
    where = content.index(loop)
    executed = bytes(place * 2 - where in (0, 4) for place in range(PLACES))
    store = RegionStore(default_folder())
    assert serve(Request(0, where, False, (), {0: Page(content, executed, 1)}), store).image
    store.close()
    machine, _ = machines.launch(kernel=str(machines.home / "busy"), jit="on", jail=REQUIRED)
    eventually(lambda: machine.ask("stats")["jit"]["coverage"] > 0.5, PATIENCE)
    found = machine.ask("stats")["jit"]
    assert (found["loaded"], found["regions"]) == (1, 0)


def test_it_stands_still_and_goes_on(machines: Machines) -> None:
    machine = machines.talking()
    machine.ask("pause")
    assert machine.ask("status")["paused"]
    machine.screen.socket.sendall(b"k")
    machine.screen.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        machine.screen.socket.recv(1)
    machine.screen.socket.settimeout(20)
    machine.ask("resume")
    assert machine.screen.line() == b"k1"
    with pytest.raises(StateError, match="paused"):
        machine.ask("resume")


@pytest.mark.parametrize("paused", [False, True])
def test_term_ends_it(machines: Machines, paused: bool) -> None:
    machine = machines.talking()
    if paused:
        machine.ask("pause")
    machine.supervisor.signal(signal.SIGTERM)
    assert machine.end().code == 128 + signal.SIGTERM


def test_stop_asks_the_same(machines: Machines) -> None:
    machine = machines.talking()
    machine.ask("stop")
    assert machine.end().code == 128 + signal.SIGTERM


def test_signals_that_mean_nothing_to_a_machine_do_nothing(machines: Machines) -> None:
    machine = machines.talking()
    for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGTSTP, signal.SIGALRM):
        machine.supervisor.signal(number)
    assert machine.type(b"x") == b"x1"


def test_kill_is_told_at_once_and_leaves_its_snapshots(machines: Machines) -> None:
    machine = machines.talking()
    machine.ask("snapshot", name="base")
    os.kill(machine.ask("status")["pid"], signal.SIGKILL)
    assert machine.end().code == 137
    Snapshot.open(machine.folder / SNAPSHOTS / "base").verify()


def test_one_that_cannot_start_says_why(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"no kernel" * 100)
    machine, told = machines.launch(kernel=str(tmp_path / "odd"))
    assert told.startswith(FAILED + b"kernel ")
    assert machine.end().code == 125
    assert "gasang: kernel" in log(machine)


# snapshots


def test_it_goes_on_where_a_snapshot_was_made(machines: Machines) -> None:
    first = machines.talking()
    first.type(b"ab")
    assert first.ask("snapshot", name="base")["name"] == "base"
    assert first.type(b"c") == b"c3"
    second = machines.talking("two", snapshot=str(first.folder / SNAPSHOTS / "base"))
    assert second.type(b"x") == b"x3"
    assert first.type(b"d") == b"d4"


@pytest.mark.parametrize("name", [None, 5, "../x", ""])
def test_impossible_names_of_snapshots_are_refused(machines: Machines, name: object) -> None:
    machine = machines.talking()
    with pytest.raises(UsageError, match="snapshot"):
        machine.ask("snapshot", name=name)
    assert machine.type(b"x") == b"x1"


def test_a_snapshot_that_is_not_there(machines: Machines, tmp_path: Path) -> None:
    machine, told = machines.launch(snapshot=str(tmp_path / "none"))
    assert b"snapshot none" in told
    assert machine.end().code == 125


# twins


def test_a_twin_is_a_machine_of_its_own(machines: Machines) -> None:
    parent = machines.talking()
    parent.type(b"ab")
    twin, facts = machines.twin(parent, "twin")
    assert twin.type(b"x") == b"x3"
    assert parent.type(b"cd") == b"d4"
    assert twin.ask("status")["pid"] == facts["pid"] != parent.ask("status")["pid"]
    assert log(twin) == "x3\n"
    twin.ask("snapshot", name="own")
    assert (twin.folder / SNAPSHOTS / "own").is_dir()
    twin.screen.socket.sendall(b"q")
    assert twin.end().code == 0
    assert parent.type(b"e") == b"e5"


def test_a_twin_of_a_twin_outlives_both(machines: Machines) -> None:
    parent = machines.talking()
    twin, _ = machines.twin(parent, "twin")
    twin.type(b"a")
    third, _ = machines.twin(twin, "third")
    for machine in (parent, twin):
        machine.supervisor.signal(signal.SIGKILL)
        assert machine.end().code == 137
    assert third.type(b"b") == b"b2"
    third.supervisor.signal(signal.SIGTERM)
    assert third.end().code == 143


def test_a_twin_of_a_machine_that_stands_still_runs(machines: Machines) -> None:
    parent = machines.talking()
    parent.ask("pause")
    twin, _ = machines.twin(parent, "twin")
    assert twin.type(b"x") == b"x1"
    assert parent.ask("status")["paused"]


def test_a_twin_on_a_terminal(machines: Machines) -> None:
    parent = machines.talking(tty=True)
    twin, _ = machines.twin(parent, "twin", tty=True)
    assert twin.type(b"\x03") == b"\x031"
    twin.supervisor.resize(30, 90)
    assert parent.type(b"\x04") == b"\x041"


def test_a_twin_that_is_killed_is_told_at_once(machines: Machines) -> None:
    parent = machines.talking()
    twin, facts = machines.twin(parent, "twin")
    os.kill(facts["pid"], signal.SIGKILL)
    assert twin.end().code == 137


def test_a_twin_goes_with_its_stand_in(machines: Machines) -> None:
    parent = machines.talking()
    twin, facts = machines.twin(parent, "twin")
    twin.supervisor.signal(signal.SIGKILL)
    assert twin.end().code == 137
    eventually(lambda: not os.path.exists(f"/proc/{facts['pid']}"))
    assert parent.type(b"x") == b"x1"


def test_a_twin_goes_with_its_supervisor(machines: Machines) -> None:
    parent = machines.talking()
    twin, facts = machines.twin(parent, "twin")
    assert twin.supervisor.process is not None
    os.kill(twin.supervisor.process, signal.SIGKILL)
    twin.supervisor.reap()
    eventually(lambda: not os.path.exists(f"/proc/{facts['pid']}"))
    assert read_exit(twin.folder) is None


@pytest.mark.parametrize(
    ("words", "sockets", "streams"),
    [
        ({}, 1, 3), ({"folder": "relative"}, 1, 3), ({"folder": 5}, 1, 3), ({"folder": "/tmp"}, 0, 0), ({"folder": "/tmp"}, 0, 4),
        ({"folder": "/tmp"}, 1, 2), ({"folder": "/tmp"}, 1, 4), ({"folder": "/tmp", "hostname": 5}, 1, 3),
    ],
)  # fmt: skip
def test_odd_wishes_for_twins_are_refused(machines: Machines, words: dict[str, object], sockets: int, streams: int) -> None:
    machine = machines.talking()
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(os.devnull).open("rb") as stream, pytest.raises(UsageError, match="fork"):
        ask(machine.folder, "fork", dict(words), files=[*[theirs.fileno()] * sockets, *[stream.fileno()] * streams])
    assert machine.type(b"x") == b"x1"


def test_a_twin_whose_streams_are_not_there_is_told_of(machines: Machines, tmp_path: Path) -> None:
    machine = machines.talking()
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(StateError, match="streams of process"):
        ask_fork(machine.folder, tmp_path, 1 << 22, theirs)
    assert machine.type(b"x") == b"x1"


def test_a_twin_without_a_folder_is_told_of(machines: Machines, tmp_path: Path) -> None:
    machine = machines.talking()
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(StateError, match="did not begin to live"):
        ask_fork(machine.folder, tmp_path / "none", os.getpid(), theirs)
    assert machine.type(b"x") == b"x1"
    assert not machine.ask("status")["paused"]


def test_it_does_not_run_any_more(machines: Machines) -> None:
    machine = machines.talking()
    machine.screen.socket.sendall(b"q")
    machine.end()
    with pytest.raises(StateError, match="does not run"):
        machine.ask("status")


def test_ready_is_one_byte() -> None:
    assert (len(READY), len(FAILED)) == (1, 1)


def test_a_machine_without_a_control_socket_is_no_machine(tmp_path: Path) -> None:
    with pytest.raises((StateError, NotFoundError)):
        ask(tmp_path / "nothing", "status")


@pytest.mark.parametrize("room", [0, 4 << 20, 32 << 20])
def test_one_without_memory_refuses_and_answers_again(room: int, machines: Machines) -> None:
    """Whatever it lacks memory for, threads that answer included."""
    machine = machines.talking()
    machine.ask("snapshot", name="base")
    pid = machine.ask("status")["pid"]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + room, -1))
    try:
        with suppress(OutOfSpaceError, StateError):  # it may have what it needs
            machine.ask("snapshot", name="second")
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
    assert not machine.ask("status")["paused"]
    machine.ask("snapshot", name="third")
    for name in ("base", "third"):
        Snapshot.open(machine.folder / SNAPSHOTS / name).verify()
    machine.screen.socket.sendall(b"q")
    assert machine.end().code == 0
