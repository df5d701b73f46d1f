"""The seam between the daemon and what supervises a process: one supervisor a process, which outlives the daemon."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from gasang.core.errors import GasangError
from gasang.daemon.containers.streams import Ends
from gasang.kinds.container.supervising import Wish

CANNOT_START = 128
CANNOT_EXECUTE, NOT_FOUND = 126, 127


@dataclass(frozen=True)
class Exit:
    """How a process ended: its code as Docker counts (128 + signal), when (nanoseconds since 1970), whether memory ran out."""

    code: int
    time: int
    oom_killed: bool = False
    error: str = ""
    """Why it never started, where it did not."""
    started: int = 0
    """When it had started, in nanoseconds since 1970, where that is known."""


class StartError(GasangError):
    """A container's program could not be started; `guest_code` is 126 or 127 as a shell has them, 128 for the rest."""

    http_status = 400

    def __init__(self, subject: str, cause: str, hint: str = "", guest_code: int = CANNOT_START) -> None:
        super().__init__(subject, cause, hint)
        self.guest_code = guest_code


class Process(Protocol):
    """A supervised process. Every method may be called from the event loop; none blocks."""

    async def start(self) -> int:
        """Let the process run its program; its pid. Raises GasangError where it cannot start."""
        ...

    async def attach(self, stream: socket.socket, early: bytes, ends: Ends, log: Path | None = None) -> None:
        """Give a client's connection to the supervisor.

        `early` are bytes of stdin that came already; where `ends` asks for what was said before, it is read from `log`.
        """
        ...

    async def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size."""
        ...

    async def signal(self, number: int) -> None:
        """Send a signal to the process. Raises StateError where it is gone."""
        ...

    async def ending(self) -> bool:
        """Whether the process has ended, be it that `ended` does not know yet."""
        ...

    async def ended(self) -> Exit:
        """Wait for its end. May be awaited by many."""
        ...

    def forsake(self) -> None:
        """The daemon ends: whose streams end with it is told."""
        ...

    def close(self) -> None:
        """Let go of the supervisor; it lives on."""
        ...


class Found(NamedTuple):
    """A process that a former daemon started. `started` is in nanoseconds since 1970."""

    process: Process
    pid: int
    started: int


class Runtime(Protocol):
    """Makes and finds supervised processes."""

    async def launch(self, wish: Wish) -> Process:
        """A supervisor with its process made and waiting for `start`."""
        ...

    async def find(self, folder: Path) -> Found | None:
        """The supervisor that a former daemon launched with `folder`; None where it is gone, or had not been told to start anything."""
        ...

    def exit_of(self, folder: Path) -> Exit | None:
        """What a supervisor wrote when its process ended, None where it did not."""
        ...
