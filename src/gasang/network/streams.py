"""A published TCP port, passed on by the proxy.

A connection is two one-way streams; a stream reads only while it has nothing left to write, so a slow reader holds back the writer and
nothing piles up here. Each end may finish on its own.

There are so many at most. A caller more is at the cost of who has most of them: of the callers' address with the most connections, the one
on which nothing has happened for longest ends. Where that is the new caller's own, it ends one that is idle, or is sent away.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
from collections import Counter
from functools import partial
from time import monotonic
from typing import Final

from gasang.network.loop import Handler, Loop
from gasang.network.ports import Held

_CHUNK: Final = 1 << 18
_MOST_CONNECTIONS: Final = 1024
_IDLE: Final = 5.0
"""Seconds after which a connection, on which nothing happens, makes room for another of the same address."""
_BURST: Final = 64


class Connections:
    """The port."""

    def __init__(self, loop: Loop, held: Held) -> None:
        self.selector = loop.selector
        self.open: dict[Connection, None] = {}
        """Who was idle for longest is the first."""
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
                client, address = self._socket.accept()
            except OSError:
                return
            if len(self.open) >= _MOST_CONNECTIONS and not self._make_room(address[0]):
                client.close()
                continue
            connection = Connection(self, client, address[0])
            self.open[connection] = None
            connection.call(self._family, self._target)

    def _make_room(self, caller: str) -> bool:
        """End one connection for a new one of that address; False: none that it would be fair to end."""
        counts = Counter(connection.caller for connection in self.open)
        caller_most, most = counts.most_common(1)[0]
        if counts[caller] >= most:
            caller_most = caller
        idlest = next(connection for connection in self.open if connection.caller == caller_most)
        if caller_most == caller and monotonic() - idlest.used < _IDLE:
            return False
        idlest.end()
        return True


class Connection:
    """A client and its machine, and what is under way between them."""

    def __init__(self, server: Connections, client: socket.socket, caller: str) -> None:
        self.server = server
        self.caller = caller
        self.used = monotonic()
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
        self.server.open.pop(self, None)

    def handle(self, end: socket.socket, events: int) -> None:
        """One end can be read, or written to."""
        self._note()
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

    def _note(self) -> None:
        """Something happens: it is the last to be ended for others."""
        self.used = monotonic()
        if self in self.server.open:
            del self.server.open[self]
            self.server.open[self] = None

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
