"""The DNS server's thread: sockets in every machine's namespace, and the host's resolvers behind.

What is answered is the resolver's business (`resolver.py`); here are only sockets, limits and deadlines. A machine can keep the server
busy, but not the others waiting: what it may have under way at once is bounded, and nothing here blocks.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from gasang.network.dns import exchange
from gasang.network.dns.directory import Directory
from gasang.network.dns.exchange import Asker, Deadlines
from gasang.network.dns.inside import Sockets
from gasang.network.dns.resolver import Resolver
from gasang.network.dns.upstream import PATH, Resolvers, Watched

_LOOK_AGAIN: Final = 2.0
_BURST: Final = 64
_DATAGRAM: Final = 65535
_MOST_CONNECTIONS: Final = 16


class Server:
    """One for all machines. `directory` may be changed under `lock` only."""

    def __init__(self, directory: Directory, resolv_conf: str = PATH) -> None:
        self.lock = threading.Lock()
        self._resolver = Resolver(directory)
        self._resolvers = Watched(resolv_conf)
        self._looked = -_LOOK_AGAIN
        self._upstream = Resolvers()
        self._selector = selectors.DefaultSelector()
        self._deadlines = Deadlines()
        self._listeners: dict[str, _Listener] = {}
        self._todo: list[Callable[[], None]] = []
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._thread: threading.Thread | None = None
        self._open = True

    def serve(self, machine: str, sockets: Sockets) -> None:
        """Answer what arrives there, as that machine's questions; the sockets are the server's now."""
        self._call(lambda: self._add(machine, sockets))

    def release(self, machine: str) -> None:
        """Close that machine's sockets, before this returns (they keep its namespace alive)."""
        if self._thread is None:
            return
        done = threading.Event()

        def remove() -> None:
            listener = self._listeners.pop(machine, None)
            if listener:
                listener.close()
            done.set()

        self._call(remove)
        done.wait()

    def close(self) -> None:
        """Stop."""
        if self._thread is not None:
            self._call(self._stop)
            self._thread.join()
        self._selector.close()
        self._bell.close()
        self._ear.close()

    def upstream(self) -> tuple[str, ...]:
        """The host's resolvers, looked up again from time to time."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            current = self._resolvers.now()
            if current != self._upstream:
                self._upstream = current
                self._resolver.forget()
        return self._upstream.servers

    def _call(self, action: Callable[[], None]) -> None:
        with self.lock:
            self._todo.append(action)
            if self._thread is None:
                self._selector.register(self._ear, selectors.EVENT_READ, self._obey)
                self._thread = threading.Thread(target=self._run, name="gasang-dns", daemon=True)
                self._thread.start()
        with contextlib.suppress(BlockingIOError):
            self._bell.send(b"!")

    def _obey(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        with self.lock:
            todo, self._todo = self._todo, []
        for action in todo:
            action()

    def _add(self, machine: str, sockets: Sockets) -> None:
        before = self._listeners.pop(machine, None)
        if before:
            before.close()
        asker = Asker(machine, self._resolver, self.lock, self._selector, self._deadlines, self.upstream)
        self._listeners[machine] = _Listener(asker, sockets)

    def _stop(self) -> None:
        self._open = False
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def _run(self) -> None:
        while self._open:
            for key, events in self._selector.select(self._deadlines.wait(time.monotonic())):
                # Closed by a handler earlier in this round: its descriptor may be another's by now.
                if self._selector.get_map().get(key.fd) is key:
                    key.data(events)
            self._deadlines.run(time.monotonic())


class _Listener:
    """A machine's two sockets."""

    def __init__(self, asker: Asker, sockets: Sockets) -> None:
        self._asker = asker
        self._sockets = sockets
        self._clients: set[exchange.Client] = set()
        asker.selector.register(sockets.datagrams, selectors.EVENT_READ, self._datagrams)
        asker.selector.register(sockets.connections, selectors.EVENT_READ, self._connections)

    def close(self) -> None:
        """Close them, and all that is under way."""
        for each in (self._sockets.datagrams, self._sockets.connections):
            self._asker.selector.unregister(each)
        for client in list(self._clients):
            client.close()
        self._asker.close()
        self._sockets.close()

    def _datagrams(self, _events: int) -> None:
        for _ in range(_BURST):
            try:
                data, sender = self._sockets.datagrams.recvfrom(_DATAGRAM)
            except OSError:
                return
            self._asker.ask(data, lambda answer, sender=sender: self._send(answer, sender), stream=False)  # type: ignore[misc]

    def _send(self, answer: bytes, sender: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._sockets.datagrams.sendto(answer, sender)

    def _connections(self, _events: int) -> None:
        for _ in range(_BURST):
            try:
                client, _address = self._sockets.connections.accept()
            except OSError:
                return
            if len(self._clients) >= _MOST_CONNECTIONS:
                client.close()
                continue
            self._clients.add(exchange.Client(self._asker, client, self._clients.discard))
