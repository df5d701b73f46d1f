"""Passing on what rules cannot: from ::1, from one family to the other, and everything where the kernel has no nftables.

One thread serves all published ports. A connection is two one-way streams; a stream reads only while it has nothing left to write, so a
slow reader holds back the writer and nothing piles up here. A client's UDP packets leave by a socket of their own, so that answers find
their way back, until it has been idle.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from gasang.network.ports import Held
from gasang.network.spec import Published

_CHUNK: Final = 1 << 18
_IDLE: Final = 90.0
_ROUND: Final = 15.0
_MOST_CLIENTS: Final = 1024
_MOST_CONNECTIONS: Final = 1024
_DATAGRAM: Final = 65536
_BURST: Final = 64


class Proxy:
    """Serves held ports until they are released. Thread-safe; its thread starts with the first port."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._servers: dict[Published, _Server] = {}
        self._datagrams: dict[Published, _Datagrams] = {}
        self._next_round = 0.0
        self._todo: list[Callable[[], None]] = []
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._thread: threading.Thread | None = None
        self._open = True

    def serve(self, held: Sequence[Held]) -> None:
        """Pass on what arrives at these ports; their sockets are the proxy's now."""
        for item in held:
            self._call(lambda item=item: self._add(item))  # type: ignore[misc]

    def release(self, ports: Sequence[Published]) -> None:
        """Stop, and close the sockets, before this returns."""
        if not ports or self._thread is None:
            return
        done = threading.Event()

        def remove() -> None:
            for port in ports:
                self._datagrams.pop(port, None)
                server = self._servers.pop(port, None)
                if server:
                    server.close()
            done.set()

        self._call(remove)
        done.wait()

    def close(self) -> None:
        """Stop everything."""
        if self._thread is None:
            self._discard()
            return
        self._call(self._stop)
        self._thread.join()

    def _call(self, action: Callable[[], None]) -> None:
        with self._lock:
            self._todo.append(action)
            if self._thread is None:
                self._selector.register(self._ear, selectors.EVENT_READ, self._obey)
                self._thread = threading.Thread(target=self._run, name="gasang-ports", daemon=True)
                self._thread.start()
        with contextlib.suppress(BlockingIOError):
            self._bell.send(b"!")

    def _add(self, item: Held) -> None:
        if item.port.protocol == "tcp":
            self._servers[item.port] = _Connections(self._selector, item)
        else:
            self._servers[item.port] = self._datagrams[item.port] = _Datagrams(self._selector, item)

    def _stop(self) -> None:
        self._open = False
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        self._datagrams.clear()

    def _obey(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        with self._lock:
            todo, self._todo = self._todo, []
        for action in todo:
            action()

    def _run(self) -> None:
        while self._open:
            for key, events in self._selector.select(_ROUND if self._datagrams else None):
                # Closed by a handler earlier in this round: its descriptor may be another's by now.
                if self._selector.get_map().get(key.fd) is key:
                    key.data(events)
            self._expire()
        self._discard()

    def _expire(self) -> None:
        now = time.monotonic()
        if self._datagrams and now >= self._next_round:
            self._next_round = now + _ROUND
            for server in self._datagrams.values():
                server.expire(now)

    def _discard(self) -> None:
        self._selector.close()
        self._bell.close()
        self._ear.close()


class _Server:
    """What is common to both protocols: a bound socket in the selector."""

    def __init__(self, selector: selectors.BaseSelector, held: Held) -> None:
        self.selector = selector
        self.socket = held.socket
        self.target = held.port.machine_address, held.port.machine_port
        self.family = socket.AF_INET6 if ":" in held.port.machine_address else socket.AF_INET
        selector.register(self.socket, selectors.EVENT_READ, self.arrived)

    def arrived(self, _events: int) -> None:
        """Something is to be read at the port."""
        raise AssertionError("each protocol has its own")

    def close(self) -> None:
        """Close the port and all that came by it."""
        self.selector.unregister(self.socket)
        self.socket.close()


class _Connections(_Server):
    """A TCP port."""

    def __init__(self, selector: selectors.BaseSelector, held: Held) -> None:
        super().__init__(selector, held)
        self.open: set[_Connection] = set()

    def arrived(self, _events: int) -> None:
        """Accept what waits and call the machine."""
        for _ in range(_BURST):
            try:
                client, _address = self.socket.accept()
            except OSError:
                return
            if len(self.open) >= _MOST_CONNECTIONS:
                client.close()
                continue
            connection = _Connection(self, client)
            self.open.add(connection)
            connection.call(self.family, self.target)

    def close(self) -> None:
        """Close the port and its connections."""
        super().close()
        for connection in list(self.open):
            connection.end()


class _Connection:
    """A client and its machine, and what is under way between them."""

    def __init__(self, server: _Connections, client: socket.socket) -> None:
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
        handler: Any = lambda ready, end=end: self.handle(end, ready)  # noqa: E731
        if before:
            selector.modify(end, events, handler)
        else:
            selector.register(end, events, handler)


class _Datagrams(_Server):
    """A UDP port."""

    def __init__(self, selector: selectors.BaseSelector, held: Held) -> None:
        super().__init__(selector, held)
        self.clients: dict[Any, tuple[socket.socket, float]] = {}

    def arrived(self, _events: int) -> None:
        """Pass packets on to the machine."""
        for _ in range(_BURST):
            try:
                data, client = self.socket.recvfrom(_DATAGRAM)
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._outlet(client).send(data)

    def expire(self, now: float) -> None:
        """Forget clients that have been quiet."""
        for client in [client for client, (_, used) in self.clients.items() if used + _IDLE <= now]:
            self._forget(client)

    def close(self) -> None:
        """Close the port and forget its clients."""
        super().close()
        for client in list(self.clients):
            self._forget(client)

    def _outlet(self, client: Any) -> socket.socket:
        """The socket for that client, which becomes the last to be forgotten."""
        known = self.clients.pop(client, None)
        outlet = known[0] if known else self._open(client)
        self.clients[client] = outlet, time.monotonic()
        return outlet

    def _open(self, client: Any) -> socket.socket:
        if len(self.clients) >= _MOST_CLIENTS:
            self._forget(next(iter(self.clients)))
        outlet = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        outlet.connect(self.target)
        self.selector.register(outlet, selectors.EVENT_READ, lambda _events: self._back(client, outlet))
        return outlet

    def _back(self, client: Any, outlet: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                data = outlet.recv(_DATAGRAM)
            except OSError:
                return
            with contextlib.suppress(OSError):
                self.socket.sendto(data, client)

    def _forget(self, client: Any) -> None:
        outlet, _ = self.clients.pop(client)
        self.selector.unregister(outlet)
        outlet.close()
