"""Containers' processes under supervisors of our own: what `Process` and `Runtime` are in the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, StateError
from gasang.daemon.containers.process import Exit, Launch, Process, StartError
from gasang.daemon.containers.streams import Ends
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.supervising import Supervised, supervised_exec, supervised_start
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import Settings, Status, Supervisor, forget_records, read_exit

LOG_NAME: Final = "log"
KILLED: Final = 137


def exit_of(status: Status) -> Exit:
    """A record of an end as the daemon counts."""
    return Exit(status.code, status.finished, status.oom)


class SupervisedProcess:
    """One process and the connection to its supervisor."""

    def __init__(self, supervisor: Supervisor, made: Supervised | None = None, size: tuple[int, int] = (0, 0)) -> None:
        self._supervisor = supervisor
        self._made = made
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._started: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._watching = True
        asyncio.get_running_loop().add_reader(supervisor.fileno(), self._hear)

    async def start(self) -> int:
        """Let the process run its program; its pid. Raises StartError."""
        self._supervisor.subscribe()
        self._supervisor.send(protocol.START)
        self._hear()
        status = await self._started
        if status.failed is not None:
            assert self._made is not None
            sentence, code = self._made.explain(status.failed)
            self._unwatch()
            raise StartError("failed to create task for container", sentence, guest_code=code)
        return status.pid

    def _hear(self) -> None:
        try:
            for status in self._supervisor.news():
                self._take(status)
        except StateError:
            self._lose()

    def _take(self, status: Status) -> None:
        if status.kind == 0:
            self._lose()
        elif status.kind == protocol.STARTED and not self._started.done():
            self._started.set_result(status)
        elif status.kind == protocol.EXITED:
            if not self._started.done():
                self._started.set_result(status)
            if not self._ended.done():
                self._ended.set_result(exit_of(status))

    def _lose(self) -> None:
        """The supervisor is gone: it has written how the process ended, or it was killed, and the process with it."""
        self._unwatch()
        record = read_exit(self._supervisor.folder)
        found = exit_of(record) if record else Exit(KILLED, _now(), error="its supervisor was killed")
        if not self._started.done():
            if record is not None:
                self._started.set_result(record)
            else:
                self._started.set_exception(StartError("container", found.error))
        if not self._ended.done():
            self._ended.set_result(found)

    async def attach(self, stream: socket.socket, early: bytes, ends: Ends) -> None:
        """Give a client's connection to the supervisor; what came early goes before it."""
        self._supervisor.attach(
            stream,
            stdin=ends.stdin,
            stdout=ends.stdout,
            stderr=ends.stderr,
            multiplexed=ends.multiplexed,
            ends_stdin=ends.stdin,
        )

    async def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size."""
        self._supervisor.resize(rows, columns)

    async def signal(self, number: int) -> None:
        """Send a signal. Raises StateError where the process is gone."""
        self._supervisor.signal(number)

    async def ended(self) -> Exit:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            asyncio.get_running_loop().remove_reader(self._supervisor.fileno())

    def close(self) -> None:
        """Let go of the supervisor."""
        self._unwatch()
        self._supervisor.close()


def _now() -> int:
    import time

    return time.time_ns()


class SupervisedRuntime:
    """Launches and finds supervisors."""

    async def launch(self, request: Launch) -> Process:
        """A supervisor whose process waits for `start`. Raises GasangError."""
        return await asyncio.to_thread(self._prepare, request)(request)  # type: ignore[operator]

    def _prepare(self, request: Launch) -> Callable[..., Any]:
        raise NotImplementedError

    async def find(self, folder: Path) -> Process | None:
        """The supervisor that a former daemon launched, None where it is gone."""
        try:
            supervisor = Supervisor.connect(folder)
        except (NotFoundError, StateError):
            return None
        supervisor.subscribe()
        return SupervisedProcess(supervisor)

    def exit_of(self, folder: Path) -> Exit | None:
        """What a supervisor wrote at its process's end."""
        record = read_exit(folder)
        return exit_of(record) if record else None


__all__ = [
    "Cgroup",
    "GasangError",
    "Settings",
    "SupervisedProcess",
    "SupervisedRuntime",
    "forget_records",
    "json",
    "os",
    "shutil",
    "supervised_exec",
    "supervised_start",
]
