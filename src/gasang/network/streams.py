"""A published TCP port, passed on by the proxy.

A connection is two one-way streams; a stream reads only while it has nothing left to write, so a slow reader holds back the writer and
nothing piles up here. Each end may finish on its own.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
from functools import partial
from typing import Final

from gasang.network.loop import Handler, Loop
from gasang.network.ports import Held

_CHUNK: Final = 1 << 18
_MOST_CONNECTIONS: Final = 1024
_BURST: Final = 64


class Connections:
    """The port."""

    def __init__(self, loop: Loop, held: Held) -> None:
        self.selector = loop.selector
        self.open: set[Connection] = set()
        self._socket = held.socket
        self._target = held.port.machine_address, held.port.machine_port
        self._family = socket.AF_INET6 if ":" in held.port.machine_address else socket.AF_INET
        loop.selector.register(self._socket, selectors.EVENT_READ, self._arrived)

    def close(self) -> None:
        """Close the port and its connections."""
        self.selector.unregister(self._socket)
        self._socket.close()
        for connection in list(self.open):
            connection.end()

    def _arrived(self, _events: int) -> None:
        """Accept what waits and call the machine."""
        for _ in range(_BURST):
            try:
                client, _address = self._socket.accept()
            except OSError:
                return
            if len(self.open) >= _MOST_CONNECTIONS:
                client.close()
                continue
            connection = Connection(self, client)
            self.open.add(connection)
            connection.call(self._family, self._target)


class Connection:
    """A client and its machine, and what is under way between them."""

    def __init__(self, server: Connections, client: socket.socket) -> None:
        self.server = server
        self.client = client
        client.setblocking(False)
        self.machine: socket.socket | None = None
        self.waiting: dict[socket.socket, bytes] = {}
        self.finished: set[socket.socket] = set()
        self.events: dict[socket.socket, int] = {}

    def call(self, family: int, target: tuple[str, int]) -> None:
        """Begin to connect to the machine."""
        try:
            self.machine = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            error = self.machine.connect_ex(target)
        except OSError:
            self.end()
            return
        if error not in (0, errno.EINPROGRESS):
            self.end()
            return
        for end in (self.client, self.machine):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch(self.machine, selectors.EVENT_WRITE)

    def end(self) -> None:
        """Close both ends."""
        for end in list(self.events):
            self._watch(end, 0)
        self.client.close()
        if self.machine:
            self.machine.close()
        self.server.open.discard(self)

    def handle(self, end: socket.socket, events: int) -> None:
        """One end can be read, or written to."""
        try:
            if not self.waiting and not self._established():
                self.end()
                return
            if events & selectors.EVENT_WRITE:
                self._write(end)
            if events & selectors.EVENT_READ:
                self._read(end)
            self._settle()
        except OSError:
            self.end()

    def _established(self) -> bool:
        assert self.machine
        if self.machine.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        self.waiting = {self.client: b"", self.machine: b""}
        return True

    def _other(self, end: socket.socket) -> socket.socket:
        assert self.machine
        return self.machine if end is self.client else self.client

    def _read(self, end: socket.socket) -> None:
        other = self._other(end)
        if self.waiting[other] or end in self.finished:
            return
        try:
            data = end.recv(_CHUNK)
        except BlockingIOError:
            return
        if data:
            self.waiting[other] = data
            self._write(other)
        else:
            self.finished.add(end)
            self._write(other)

    def _write(self, end: socket.socket) -> None:
        if data := self.waiting[end]:
            with contextlib.suppress(BlockingIOError):
                self.waiting[end] = data[end.send(data) :]
        if not self.waiting[end] and self._other(end) in self.finished:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR)

    def _settle(self) -> None:
        """Wait for what can happen next at each end; end when nothing can."""
        if len(self.finished) == 2 and not any(self.waiting.values()):
            self.end()
            return
        for end in self.waiting:
            reads = end not in self.finished and not self.waiting[self._other(end)]
            self._watch(end, (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self.waiting[end] else 0))

    def _watch(self, end: socket.socket, events: int) -> None:
        before = self.events.get(end, 0)
        if events == before:
            return
        selector = self.server.selector
        if not events:
            selector.unregister(end)
            del self.events[end]
            return
        self.events[end] = events
        handler: Handler = partial(self.handle, end)
        if before:
            selector.modify(end, events, handler)
        else:
            selector.register(end, events, handler)
