"""One container's life while the daemon runs: its process, who waits for its end, who is attached before its start."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from gasang.daemon.containers.process import Exit, Process
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.streams import Ends


@dataclass
class Waiting:
    """A client attached to a container that has not started."""

    stream: socket.socket
    early: bytes
    ends: Ends


@dataclass
class Life:
    """What only the running daemon knows of a container."""

    container: Container
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: Process | None = None
    waiting: list[Waiting] = field(default_factory=list)
    watcher: asyncio.Task[None] | None = None
    ended: asyncio.Future[Exit] | None = None
    """Done when the present run has ended and all that belongs to it is put away."""
    next_exit: list[asyncio.Future[Exit]] = field(default_factory=list)
    removed: list[asyncio.Future[Exit]] = field(default_factory=list)
    restart_timer: asyncio.TimerHandle | None = None
    restart_delay: float = 0.0
    last_exit: Exit | None = None
    health: asyncio.Task[None] | None = None

    def drop_waiting(self) -> None:
        """Close the connections of those who attached to a start that failed."""
        for client in self.waiting:
            client.stream.close()
        self.waiting.clear()

    def tell_exit(self, exit_: Exit) -> None:
        """Wake those who wait for the next exit."""
        self.last_exit = exit_
        for future in self.next_exit:
            if not future.done():
                future.set_result(exit_)
        self.next_exit.clear()
        if self.ended and not self.ended.done():
            self.ended.set_result(exit_)

    def tell_removed(self) -> None:
        """Wake those who wait for the removal."""
        status = self.container.status
        exit_ = self.last_exit or Exit(status.exit_code, 0, status.oom_killed)
        for future in (*self.removed, *self.next_exit):
            if not future.done():
                future.set_result(exit_)
        self.removed.clear()
        self.next_exit.clear()
