"""A container in the foreground: attached before it starts, its exit code passed on, and what leaving means for it."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from typing import Any, Final

from gasang.api.answer import Answer
from gasang.api.client import Client, path_of
from gasang.cli.console import Leave, StreamConsole
from gasang.cli.containers.attached import converse, resizer
from gasang.cli.containers.document import Ends
from gasang.cli.exits import MACHINE_DIED, OK, SIGNALLED, sentence
from gasang.cli.terminal import window_size
from gasang.core.errors import GasangError

PROGRAM_CODES: Final = (126, 127)
"""The program cannot be executed; it is not there (as a shell has them)."""
SILENCE: Final = 2.0
"""Seconds in which the daemon tells the code of a failed start."""
QUICKLY: Final = 1
"""Seconds of grace for a machine whose output nobody reads: the rest of the pipeline has ended already."""


def terminal_size() -> tuple[int, int] | None:
    """Rows and columns of this terminal, None where the output is none."""
    size = window_size(1)
    return (size.rows, size.columns) if size else None


class Machine:
    """A container that this process shows: `key` its id or name, `tty` whether it has a terminal."""

    def __init__(self, client: Client, key: str, *, tty: bool, removed: bool = False, keys: str | None = None) -> None:
        """`removed`: it is removed when it ends; `keys`: what leaves it running, where that is not the usual."""
        self._client = client
        self._key = key
        self._tty = tty
        self._keys = keys
        self._condition = "removed" if removed else "next-exit"

    def _path(self, *more: str) -> str:
        return path_of("containers", self._key, *more)

    def run(self, console: StreamConsole, ends: Ends, *, start: bool, logs: bool = False, pass_signals: bool = False) -> int:
        """Attach, start it if asked, and stay until it ends or the person leaves; the exit code of this command.

        `pass_signals`: this command's signals are the machine's, unless it has a terminal.

        Raises GasangError where the daemon refuses to attach. A start that fails is told here: 126 and 127 as a shell has them, else 125.
        """
        streams = {"stdin": int(ends.stdin), "stdout": int(ends.stdout), "stderr": int(ends.stderr)}
        query = {"stream": 1, **streams, "logs": int(logs), "detachKeys": self._keys}
        if pass_signals:
            console.pass_signals(self._signal)
        with (
            console,
            self._client.upgrade(self._path("attach"), query) as stream,
            self._client.open("POST", self._path("wait"), {"condition": self._condition}) as waiting,
        ):
            if start:
                try:
                    self._client.call("POST", self._path("start"))
                except GasangError as error:
                    print(f"gasang: {sentence(error)}", file=sys.stderr)
                    return _code_of_failure(waiting)
            converse(stream, console, resizer(self._client, self._path()) if self._tty else None)
            return _code(waiting) if console.left is None else self._leave(console, waiting, ends=start)

    def _signal(self, number: int) -> None:
        """Send it a signal; one that has ended does not mind."""
        with suppress(GasangError):
            self._client.call("POST", self._path("kill"), {"signal": number})

    def _leave(self, console: StreamConsole, waiting: Answer, *, ends: bool) -> int:
        """A second Ctrl-C stops the machine; so do SIGTERM and an output nobody reads, where it was started from here."""
        asked = console.left is Leave.INTERRUPT
        if asked or (ends and console.leave_code != SIGNALLED + signal.SIGHUP and console.left is not Leave.KEY):
            print("gasang: stopping the machine", file=sys.stderr)
            grace = QUICKLY if console.left is Leave.NOBODY_READS else None
            self._client.call("POST", self._path("stop"), {"t": grace})
            _code(waiting)
            return console.leave_code
        if console.left is Leave.KEY:
            print(f"\r\ngasang: {self._key[:12]} goes on; gasang attach {self._key[:12]} comes back to it", file=sys.stderr)
            return OK
        return console.leave_code


def _code_of_failure(waiting: Answer) -> int:
    """The exit code of a start that failed; the daemon tells it at once, or not at all."""
    waiting.hurry(SILENCE)
    try:
        code = _code(waiting)
    except GasangError:
        return MACHINE_DIED
    return code if code in PROGRAM_CODES else MACHINE_DIED


def _code(waiting: Answer) -> int:
    """The exit code that wait tells."""
    found = waiting.json()
    code = found.get("StatusCode") if isinstance(found, dict) else None
    return code if isinstance(code, int) else MACHINE_DIED


def inspected(client: Client, name: str) -> dict[str, Any]:
    """What the daemon knows of a container. Raises NotFoundError."""
    found: dict[str, Any] = client.call("GET", path_of("containers", name, "json"))
    return found
