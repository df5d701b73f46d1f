"""A command in a guest, by its agent, as the daemon sees any process (daemon/containers/process.py).

Where no agent answers it is typed at the guest's serial console, if there is one to type at, and its client is told. Its streams go
through two threads here, so it loses them when the daemon ends: the command is hung up on then, and its client is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
import socket
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from gasang.core.console import WindowSize
from gasang.core.errors import GasangError, StateError
from gasang.daemon.containers.process import CANNOT_EXECUTE, NOT_FOUND, Exit, StartError
from gasang.daemon.containers.streams import Ends, code_frame, frame
from gasang.kinds.vm.agent.client import REACH, Agent, Wants
from gasang.kinds.vm.agent.errors import CommandNotFoundError, CommandRefusedError, NoAgentError
from gasang.kinds.vm.agent.running import STDERR, Running
from gasang.kinds.vm.serial_shell.shell import NoShellError, SerialShell, TypedCommand

LOST: Final = 137
"""The exit code of a command whose guest went away."""
PIECE: Final = 1 << 15
MOMENT: Final = 0.2
"""Seconds that the daemon's end waits for a client that does not read."""
LAST_WORDS: Final = b"gasang: the daemon ends, and hangs up on this command\r\n"
_COLUMNS, _ROWS = 80, 24
_CODES: Final = {CommandNotFoundError: NOT_FOUND, CommandRefusedError: CANNOT_EXECUTE}


class Keys:
    """Finds the keys that detach in what is typed."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def split(self, data: bytes) -> tuple[bytes, bool]:
        """What is for the guest, and whether the keys have come; the beginning of them is held back."""
        whole = self._held + data
        before, found, _ = whole.partition(self._keys) if self._keys else (whole, b"", b"")
        if found:
            return before, True
        kept = next((size for size in range(min(len(self._keys) - 1, len(whole)), 0, -1) if self._keys.startswith(whole[-size:])), 0)
        self._held = whole[len(whole) - kept :]
        return whole[: len(whole) - kept], False


class Console(NamedTuple):
    """The serial console of a guest without an agent, as `why` says; "" where that is to be seen."""

    shell: SerialShell
    why: str = ""


class GuestProcess:
    """A command to be started by `agent`, as an exec's config says it; `size` is its terminal's (rows, columns).

    Without an agent, and where none answers, it is typed at the `console`, if there is one.
    """

    def __init__(
        self, agent: Agent | None, config: dict[str, Any], size: tuple[int, int], *, patience: float = 0.0, console: Console | None = None
    ) -> None:
        """`patience` is for how many seconds the guest may still boot."""
        self._agent = agent
        self._console = console
        self._patience = patience
        self._config = config
        rows, columns = size
        self._size = WindowSize(columns or _COLUMNS, rows or _ROWS) if config["Tty"] else None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Exit] = self._loop.create_future()
        self._running: Running | TypedCommand | None = None
        self._client: socket.socket | None = None
        self._ends: Ends | None = None
        self._source = -1
        self._telling = threading.Lock()

    async def start(self) -> int:
        """Start it; its number in the guest. Raises StartError."""
        begun: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._live, args=(begun,), name="exec", daemon=True).start()
        try:
            return await begun
        except GasangError as error:
            raise StartError("exec", str(error), guest_code=_CODES.get(type(error), CANNOT_EXECUTE)) from error

    def _live(self, begun: asyncio.Future[int]) -> None:
        """The thread: from the command's start to its end, or to why there is none."""
        failure: Exception = StateError("exec", "it was not started", "look at daemon.log")
        try:
            self._running = self._begin()
        except (GasangError, OSError) as error:
            failure = error
        finally:
            self._tell_begun(begun, failure)
        if self._running is not None:
            self._pass_on(self._running)

    def _tell_begun(self, begun: asyncio.Future[int], failure: Exception) -> None:
        def tell() -> None:
            if begun.done():  # nobody waits any more
                return
            if self._running is not None:
                begun.set_result(self._running.pid)
            else:
                begun.set_exception(failure)

        with contextlib.suppress(RuntimeError):  # the daemon's loop has ended
            self._loop.call_soon_threadsafe(tell)

    def _begin(self) -> Running | TypedCommand:
        patience, why = max(self._patience, REACH), ""
        if self._agent is not None:
            try:
                return self._ask(self._agent, patience)
            except NoAgentError as error:
                if self._console is None:
                    raise
                patience, why = REACH, error.cause
        assert self._console is not None  # a guest has one of them
        why = self._console.why or why
        try:
            begun = self._ask(self._console.shell, patience)
        except NoShellError as error:
            raise NoShellError(error.subject, f"{why}; and {error.cause}", error.hint) from error
        end = "\r\n" if self._size is not None else "\n"
        self._write(STDERR, f"gasang: {why}: the command runs at its serial console{end}".encode())
        return begun

    def _ask(self, place: Agent | SerialShell, patience: float) -> Running | TypedCommand:
        config = self._config
        terminal = ("TERM=xterm",) if config["Tty"] else ()
        return place.exec(
            config["Cmd"],
            environment=[*terminal, *(word for word in config["Env"] or () if "=" in word)],
            directory=config["WorkingDir"],
            user=config["User"],
            terminal=self._size,
            streams=Wants(bool(config["AttachStdin"]), bool(config["AttachStdout"]), bool(config["AttachStderr"])),
            patience=patience,
        )

    async def attach(self, stream: socket.socket, early: bytes, ends: Ends, log: Path | None = None) -> None:
        """Join a client's connection, before the start."""
        self._client, self._ends = stream.dup(), ends
        self._client.setblocking(True)
        if not ends.stdin:
            return
        self._source, sink = os.pipe()
        threading.Thread(target=_feed, args=(self._client, early, Keys(ends.keys), sink), name="exec-input", daemon=True).start()

    def _pass_on(self, running: Running | TypedCommand) -> None:
        try:
            outcome = running.run(self._write, self._source if self._source >= 0 else None)
            found = Exit(outcome.code, time.time_ns())
        except (GasangError, OSError) as error:
            found = Exit(LOST, time.time_ns(), error=str(error))
        if self._ends is not None and self._ends.tells_code:
            self._send(code_frame(found.code))
        self._let_go()
        running.close()
        with contextlib.suppress(RuntimeError):  # the daemon's loop has ended
            self._loop.call_soon_threadsafe(self._settle, found)

    def _settle(self, found: Exit) -> None:
        if not self._ended.done():
            self._ended.set_result(found)

    def _write(self, stream: int, data: bytes) -> None:
        if self._client is None or self._ends is None:
            return
        self._send(frame(stream, data) if self._ends.multiplexed else data)

    def _send(self, data: bytes) -> None:
        if self._client is None:
            return
        with self._telling, contextlib.suppress(OSError):  # who went away misses it, and the command goes on
            self._client.sendall(data)

    def forsake(self) -> None:
        """The daemon ends: the command is hung up on, and a client that reads is told why."""
        running = self._running
        if running is None or running.outcome is not None:
            return
        if self._telling.acquire(timeout=MOMENT):
            self._telling.release()
            self._write(STDERR, LAST_WORDS)
        running.hang_up()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size."""
        if self._running is not None:
            await asyncio.to_thread(self._running.resize, WindowSize(columns, rows))

    async def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._running is not None and number in signals.valid_signals():
            await asyncio.to_thread(self._running.signal, number)

    async def ending(self) -> bool:
        """Whether it has ended, be it that `ended` does not know yet."""
        return self._ended.done() or (self._running is not None and self._running.outcome is not None)

    async def ended(self) -> Exit:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    def close(self) -> None:
        """Nothing is held that its end does not let go of; of one that never began, the client, who is still to be told why."""
        if self._running is None:
            self._let_go(hangs_up=False)

    def _let_go(self, *, hangs_up: bool = True) -> None:
        """Of the client, whose input then ends."""
        if self._client is not None:
            with contextlib.suppress(OSError):  # it has gone already
                if hangs_up:
                    self._client.shutdown(socket.SHUT_RDWR)
            self._client.close()
        if self._source >= 0:
            os.close(self._source)
            self._source = -1


def _feed(client: socket.socket, early: bytes, keys: Keys, sink: int) -> None:
    """Pass on what a client types until it ends, or types the keys that detach."""
    with os.fdopen(sink, "wb", buffering=0) as pipe, contextlib.suppress(OSError):  # either side has gone
        data = early or client.recv(PIECE)
        while data:
            typed, leaves = keys.split(data)
            rest = memoryview(typed)
            while rest:
                rest = rest[pipe.write(rest) or 0 :]
            if leaves:
                client.shutdown(socket.SHUT_RDWR)
                return
            data = client.recv(PIECE)
