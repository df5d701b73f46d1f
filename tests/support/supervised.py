"""Supervisors for tests: minimal plans, machines' folders, and clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.host.processes import PR_SET_PDEATHSIG, TIOCSCTTY
from gasang.kinds.container import layout
from gasang.kinds.container.plan import Plan
from gasang.kinds.container.supervisor.launch import Supervisor, forget_records
from gasang.kinds.container.supervisor.settings import Settings
from gasang.kinds.container.supervisor.status import Status

LOG = "test-json.log"
STOP = 2
SOCKETS: list[socket.socket] = []
"""Of clients, to be closed after a test."""


def plan_of(program: str, *arguments: str, terminal: bool = False, stop: bool = False, extra: int = 0) -> bytes:
    """Execute a program with the supervisor's streams. `extra` descriptors from 8 on are handed on."""
    plan = Plan()
    plan.status = plan.hand(layout.STATUS_END, 3)
    plan.hand(layout.CONTROL_END, 4)
    for number in (*range(3), *range(8, 8 + extra)):
        plan.hand(number, number, keep=True)
    plan.child.do(layout.SIGNALS, plan.blob(bytes(32)), what="reset signals")
    plan.child.call("setsid", what="begin a session")
    if terminal:
        plan.child.call("ioctl", 0, TIOCSCTTY, 0, what="control the terminal")
    plan.child.call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0, what="die with the supervisor")
    if stop:
        plan.child.do(layout.REPORT, layout.STOPPED, STOP, what="stop")
        plan.child.do(layout.WAIT, 4, plan.blob(bytes(8)), 8, what="wait")
    path = plan.slot()
    plan.child.do(layout.FIND, plan.candidates([program]), into=path, what=f"find {program}")
    environment = plan.pointers(["PATH=/usr/bin:/bin", "TERM=dumb"])
    plan.child.do(layout.EXECUTE, path, plan.pointers([program, *arguments]), environment, what=f"execute {program}")
    return plan.build(0).data


def shell(text: str, **options: Any) -> bytes:
    """Execute a shell command."""
    return plan_of("/bin/sh", "-c", text, **options)


def python(text: str, **options: Any) -> bytes:
    """Execute Python."""
    return plan_of(sys.executable, "-S", "-E", "-c", text, **options)


class Folder:
    """A machine's folder with at most one supervisor at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.launched: list[Supervisor] = []

    def launch(self, plan: bytes, *, terminal_master: int | None = None, descriptors: tuple[int, ...] = (), **settings: Any) -> Supervisor:
        """A supervisor, subscribed to."""
        made = self.launch_raw(plan, terminal_master=terminal_master, descriptors=descriptors, **settings)
        made.subscribe()
        return made

    def launch_raw(
        self, plan: bytes, *, terminal_master: int | None = None, descriptors: tuple[int, ...] = (), **settings: Any
    ) -> Supervisor:
        """A supervisor that nothing has been said to yet."""
        forget_records(self.path)
        made = Supervisor.launch(
            Settings(**{"log": LOG, "ephemeral": True, **settings}), plan, self.path, terminal=terminal_master, descriptors=descriptors
        )
        self.launched.append(made)
        return made

    def run(self, plan: bytes, **settings: Any) -> Status:
        """Launch, start, and wait for the end."""
        made = self.launch(plan, **settings)
        made.start()
        ended = made.wait(20)
        made.reap()
        return ended

    def entries(self, name: str = LOG) -> list[dict[str, str]]:
        """The log."""
        return [json.loads(line) for line in (self.path / name).read_bytes().splitlines()]

    def text(self, stream: str = "stdout") -> str:
        """What the log has of a stream."""
        return "".join(entry["log"] for entry in self.entries() if entry["stream"] == stream)

    def close(self) -> None:
        """End what still runs."""
        for made in self.launched:
            if made.process is not None:
                os.kill(made.process, signal.SIGKILL)
                made.reap()
            made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.close()
    while SOCKETS:
        SOCKETS.pop().close()


class Client:
    """An attached client: the other end of its stream."""

    def __init__(self, supervisor: Supervisor, **options: Any) -> None:
        self.socket, other = socket.socketpair()
        SOCKETS.append(self.socket)
        with other:
            self.number = supervisor.attach(other, **options).value
        self.socket.settimeout(20)

    def rest(self) -> bytes:
        """Everything up to the end."""
        parts = []
        while part := self.socket.recv(1 << 20):
            parts.append(part)
        self.socket.close()
        return b"".join(parts)

    def until(self, text: bytes) -> bytes:
        """Everything up to a text."""
        got = b""
        while text not in got:
            part = self.socket.recv(1 << 16)
            assert part, f"the end came after {got!r}"
            got += part
        return got


def frames(raw: bytes) -> list[tuple[int, bytes]]:
    """Multiplexed output taken apart."""
    found = []
    at = 0
    while at < len(raw):
        stream, zeroes, size = struct.unpack_from(">B3sI", raw, at)
        assert zeroes == b"\0\0\0"
        assert at + 8 + size <= len(raw)
        found.append((stream, raw[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def joined(raw: bytes, stream: int) -> bytes:
    """One stream of multiplexed output."""
    return b"".join(data for number, data in frames(raw) if number == stream)


def eventually(test: Callable[[], Any], limit: float = 60.0) -> Any:
    """Wait for something that gives no event."""
    end = time.monotonic() + limit
    while not (found := test()):
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)
    return found
