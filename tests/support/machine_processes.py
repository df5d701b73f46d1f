"""Machines' processes for tests: tiny guests under supervisors, spoken to by their streams and their control sockets."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError
from gasang.kinds.container.supervisor.launch import Supervisor
from gasang.kinds.container.supervisor.status import Status
from gasang.kinds.vm.process.client import ask, ask_fork
from gasang.kinds.vm.process.launch import Log, Streams, launch_machine, launch_stand_in
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.process.stand_in import stand_in_file
from gasang.kinds.vm.process.told import READY
from support.supervised import Client
from support.talking import talking

LOG = Log("test-json.log", 1 << 20, 2)
MEMORY = 64 << 20


class Seat(Client):
    """A client who reads line by line."""

    held = b""

    def line(self) -> bytes:
        """The next line."""
        while b"\n" not in self.held:
            part = self.socket.recv(1 << 16)
            assert part, f"the end came after {self.held!r}"
            self.held += part
        found, _, self.held = self.held.partition(b"\n")
        return found

    def type(self, keys: bytes) -> bytes:
        """Keys, and what a talking guest says to the last of them."""
        self.socket.sendall(keys)
        return [self.line() for _ in keys][-1]


class Machine:
    """A machine's process and its supervisor."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        self.folder = folder
        self.supervisor = supervisor
        supervisor.subscribe()
        self.screen = Seat(supervisor, stdin=True)

    def ask(self, verb: str, **words: Any) -> Any:
        """What it answers."""
        return ask(self.folder, verb, words)

    def type(self, keys: bytes) -> bytes:
        """Keys, and what the guest says to the last of them."""
        return self.screen.type(keys)

    def end(self) -> Status:
        """How it has ended."""
        found = self.supervisor.wait(20)
        self.supervisor.reap()
        return found


class Machines:
    """Those of one test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.all: list[Machine] = []
        (home / "kernel").write_bytes(talking())

    def launch(self, name: str = "one", **settings: Any) -> tuple[Machine, bytes]:
        """A machine that has started, and what it told of that."""
        made = MachineSettings(**{"memory": MEMORY, "kernel": str(self.home / "kernel"), "stdin": True, **settings})
        launched, ready = launch_machine(self.home / name, made, LOG)
        machine = Machine(self.home / name, launched.supervisor)
        self.all.append(machine)
        machine.supervisor.start()
        try:
            return machine, os.read(ready, 4096)
        finally:
            os.close(ready)

    def talking(self, name: str = "one", **settings: Any) -> Machine:
        """One whose guest waits for keys."""
        machine, told = self.launch(name, **settings)
        assert told[:1] == READY, told
        if not settings.get("snapshot"):
            assert machine.screen.line() == b"up"
        return machine

    def twin(self, parent: Machine, name: str, tty: bool = False, *, replaces: bool = False) -> tuple[Machine, dict[str, Any]]:
        """A twin, and what its parent said of it."""
        launched, link = launch_stand_in(self.home / name, stand_in_file(self.home), LOG, Streams(tty=tty, stdin=True))
        machine = Machine(self.home / name, launched.supervisor)
        self.all.append(machine)
        streams = machine.supervisor.start().pid
        with link:
            return machine, ask_fork(parent.folder, machine.folder, streams, link, replaces=replaces)

    def close(self) -> None:
        """End them."""
        for machine in self.all:
            with suppress(GasangError):
                machine.supervisor.signal(signal.SIGKILL)
            if machine.supervisor.process is not None:
                with suppress(GasangError):
                    machine.supervisor.wait(20)
                machine.supervisor.reap()
            machine.screen.socket.close()
            machine.supervisor.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.close()
