"""Twins and snapshots of machines whose host has no memory for them: refused at once with a sentence, and the machine goes on."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gasang.core.errors import GasangError, StateError
from gasang.kinds.vm.process import twin
from gasang.kinds.vm.process.twin import introduced
from gasang.kinds.vm.snapshot.fork import Twin
from gasang.kinds.vm.snapshot.identity import Identity
from support.machine_processes import Machine, Machines

AT_ONCE = 15.0
"""Seconds, of which most are the test's own on a busy host: who waits for a twin that never lives waits for a minute."""


@contextmanager
def address_space(machine: Machine, room: int) -> Iterator[None]:
    """The machine's process has so many bytes more, and what it forks as well."""
    pid = machine.ask("status")["pid"]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + room, -1))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))


def _refusal(machines: Machines, machine: Machine) -> str:
    """Why there is no twin; "" where there is one."""
    try:
        machines.twin(machine, "two")
    except GasangError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("room", [0, 1 << 20, 8 << 20, 9 << 20, 16_882_073, 17 << 20, 40 << 20])
def test_a_twin_without_memory_is_refused_at_once(room: int, machines: Machines) -> None:
    machine = machines.talking()
    begun = time.monotonic()
    with address_space(machine, room):
        refusal = _refusal(machines, machine)
    assert re.search("^$|has no room|no memory|did not begin to live|makes no process", refusal), refusal
    assert time.monotonic() - begun < AT_ONCE
    machine.screen.socket.sendall(b"x")
    while machine.screen.line() != b"x1":  # Python complains of a thread that could not begin, with no memory left for anybody to stop it
        pass
    again, _ = machines.twin(machine, "three")
    assert again.type(b"y") == b"y2"


def test_a_twin_that_says_nothing_is_ended(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(twin, "_FIRST_WORD", 0.1)
    pid = os.fork()
    if pid == 0:
        signal.pause()
    with ours, theirs, pytest.raises(StateError, match=r"nothing was heard of it for 0\.1 s"):
        introduced(Twin(pid, Identity.fresh()), ours)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
