"""Containers' processes under supervisors of our own: what `Process` and `Runtime` are in the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, NotFoundError, StateError, TimedOutError
from gasang.daemon.containers.control import GroupControl
from gasang.daemon.containers.process import CANNOT_START, Exit, Found, Process, StartError
from gasang.daemon.containers.streams import Ends
from gasang.kinds.container.supervising import Supervised, Wish, launch
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import Supervisor
from gasang.kinds.container.supervisor.logs import LogReader, OutputGone
from gasang.kinds.container.supervisor.status import Status, read_exit

KILLED: Final = 137


def exit_of(status: Status) -> Exit:
    """A record of an end as the daemon counts."""
    return Exit(status.code, status.finished, status.oom, started=status.started)


class SupervisedProcess:
    """One process and the connection to its supervisor."""

    def __init__(self, supervisor: Supervisor, made: Supervised | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._supervisor = supervisor
        self._made = made
        self._ended: asyncio.Future[Exit] = self._loop.create_future()
        self._started: asyncio.Future[Status] = self._loop.create_future()
        self._watching = True
        supervisor.subscribe()
        self._loop.add_reader(supervisor.fileno(), self._hear)
        if supervisor.process is not None:
            self._reap_later(supervisor.process)

    def _reap_later(self, pid: int) -> None:
        """Forget the supervisor's own process when it ends."""
        descriptor = os.pidfd_open(pid)

        def reap() -> None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

        self._loop.add_reader(descriptor, reap)

    async def start(self) -> int:
        """Let the process run its program; its pid. Raises StartError."""
        self._supervisor.send(protocol.START)
        status = await self._started
        if status.failed is not None and self._made is not None:
            error = self._made.failure(status.failed)
            raise StartError("failed to create task for container", str(error), guest_code=getattr(error, "guest_code", CANNOT_START))
        return status.pid

    def _hear(self) -> None:
        try:
            for status in self._supervisor.news():
                self._take(status)
        except StateError:
            self._lose()
            return
        if self._supervisor.ended:
            self._lose()

    def _take(self, status: Status) -> None:
        if status.kind == protocol.STARTED and not self._started.done():
            self._started.set_result(status)
        elif status.kind == protocol.EXITED:
            self._settle(status)

    def _settle(self, status: Status) -> None:
        if not self._started.done():
            self._started.set_result(status)
        if not self._ended.done():
            self._ended.set_result(exit_of(status))

    def _lose(self) -> None:
        """The supervisor is gone: it has written how the process ended, or it was killed, and the process with it."""
        self._unwatch()
        record = read_exit(self._supervisor.folder)
        if record is not None:
            self._settle(record)
            return
        sentence = "its supervisor was killed"
        if not self._started.done():
            self._started.set_exception(StartError("container", sentence))
        if not self._ended.done():
            self._ended.set_result(Exit(KILLED, time.time_ns(), error=sentence))

    async def attach(self, stream: socket.socket, early: bytes, ends: Ends, log: Path | None = None) -> None:
        """Give a client's connection to the supervisor; what came early goes before the rest, and the log before what comes now."""
        replays = ends.replay and log is not None
        status = self._supervisor.attach(
            stream,
            stdin=ends.stdin,
            stdout=ends.stdout,
            stderr=ends.stderr,
            multiplexed=ends.multiplexed,
            ends_stdin=ends.ends_stdin,
            keys=ends.keys,
            held=replays,
            early=early,
        )
        if replays and log is not None:
            await asyncio.to_thread(_replay, log, ends, stream.fileno(), status.logged)
            self._supervisor.release(status.value)

    async def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size."""
        self._supervisor.resize(rows, columns)

    async def signal(self, number: int) -> None:
        """Send a signal. Raises StateError where the process is gone."""
        self._supervisor.signal(number)

    async def ending(self) -> bool:
        """Whether the process has ended, be it that `ended` does not know yet."""
        if self._ended.done():
            return True
        try:
            return self._supervisor.status().state in ("ending", "exited")
        except StateError:
            return True

    async def ended(self) -> Exit:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._supervisor.fileno())

    def forsake(self) -> None:
        """The daemon ends: nothing here ends with it."""

    def close(self) -> None:
        """Let go of the supervisor."""
        self._unwatch()
        self._supervisor.close()


def _replay(log: Path, ends: Ends, output: int, limit: int) -> None:
    """Write the log up to a point; a client that has gone meanwhile is let go by its supervisor."""
    with (
        contextlib.suppress(OutputGone),
        LogReader(
            log.parent, log.name, output, stdout=ends.stdout, stderr=ends.stderr, multiplexed=ends.multiplexed, limit=limit
        ) as reader,
    ):
        reader.run()


class SupervisedRuntime:
    """Launches and finds supervisors."""

    def __init__(self, control: GroupControl) -> None:
        self._control = control

    async def launch(self, wish: Wish) -> Process:
        """A supervisor whose process waits for `start`. Raises GasangError."""
        made = await asyncio.to_thread(launch, wish, self._control.hierarchies)
        return SupervisedProcess(made.supervisor, made)

    async def find(self, folder: Path) -> Found | None:
        """The supervisor that a former daemon launched; None where it is gone. One that waits for its start ends: nobody will ask."""
        try:
            supervisor = await asyncio.to_thread(Supervisor.connect, folder)
        except (NotFoundError, StateError):
            return None
        try:
            status = supervisor.status()
            if status.state == "waiting":
                supervisor.leave()
            if status.state in ("waiting", "exited"):
                supervisor.close()
                return None
            return Found(SupervisedProcess(supervisor), status.pid, status.started)
        except (StateError, TimedOutError):
            supervisor.close()
            return None

    def exit_of(self, folder: Path) -> Exit | None:
        """What a supervisor wrote at its process's end, None where it did not."""
        try:
            record = read_exit(folder)
        except GasangError:
            return None
        return exit_of(record) if record else None
