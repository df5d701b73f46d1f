"""The stand-in: signals go over the link, exit codes come back, and no side outlives the other."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.kinds.vm.process.stand_in import KILLED, LINK, stand_in_file


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[tuple[int, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            program = os.fspath(stand_in_file(tmp_path))
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), LINK)]
            pid = os.posix_spawn(program, [program], {}, file_actions=actions)
        ours.settimeout(10)
        yield pid, ours


def code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("number", [0, 3, 143, 255])
def test_it_ends_with_the_code_that_comes(standing: tuple[int, socket.socket], number: int) -> None:
    pid, link = standing
    link.sendall(bytes([number]))
    assert code(pid) == number


def test_it_is_killed_with_the_other_side(standing: tuple[int, socket.socket]) -> None:
    pid, link = standing
    link.close()
    assert code(pid) == KILLED


def ready(pid: int) -> None:
    """Return when it has blocked its signals: before that one ends it, as any program."""
    while True:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            lines = dict(line.split(":\t", 1) for line in status)
        if int(lines["SigBlk"], 16) & 1 << (signal.SIGTERM - 1):
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_go_over_the_link(standing: tuple[int, socket.socket], number: int) -> None:
    pid, link = standing
    ready(pid)
    os.kill(pid, number)
    assert link.recv(8) == bytes([number])
    link.sendall(bytes([9]))
    assert code(pid) == 9


def test_the_link_ends_when_it_is_killed(standing: tuple[int, socket.socket]) -> None:
    pid, link = standing
    os.kill(pid, signal.SIGKILL)
    assert link.recv(8) == b""
    assert code(pid) == -signal.SIGKILL


def test_it_takes_a_few_pages(standing: tuple[int, socket.socket]) -> None:
    pid, link = standing
    ready(pid)
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        private = sum(int(line.split()[1]) for line in file if line.startswith("Private_"))
    link.close()
    assert code(pid) == KILLED
    assert private <= 64
