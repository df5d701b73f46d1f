"""The DNS server's thread: sockets in every machine's namespace, and the host's resolvers behind.

What is answered is the resolver's business (`resolver.py`); here are only sockets, limits and deadlines. A machine can keep the server
busy, but not the others waiting: what it may have under way at once is bounded, and nothing here blocks.
"""

from __future__ import annotations

import contextlib
import selectors
import threading
import time
from collections.abc import Sequence
from typing import Final

from gasang.network.dns.client import Client
from gasang.network.dns.directory import Directory
from gasang.network.dns.exchange import Asker
from gasang.network.dns.inside import Sockets
from gasang.network.dns.resolver import Resolver
from gasang.network.dns.upstream import PATH, Resolvers, Watched
from gasang.network.loop import Loop

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
        self._loop = Loop("gasang-dns")
        self._listeners: dict[str, _Listener] = {}

    def serve(self, machine: str, sockets: Sockets, resolvers: tuple[str, ...] = ()) -> None:
        """Answer what arrives there, as that machine's questions; the sockets are the server's now.

        Names from elsewhere are asked of `resolvers`; empty: of the host's.
        """
        self._loop.call(lambda: self._add(machine, sockets, resolvers))

    def begin(self) -> None:
        """Have the thread now, which asks from the network that the caller is in."""
        self._loop.call(lambda: None)

    def release(self, machine: str) -> None:
        """Close that machine's sockets, before this returns (they keep its namespace alive)."""
        if self._loop.started:
            self._loop.finish(lambda: self._remove([machine]))

    def close(self) -> None:
        """Stop."""
        self._loop.close(lambda: self._remove(list(self._listeners)))

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

    def _add(self, machine: str, sockets: Sockets, resolvers: tuple[str, ...]) -> None:
        self._remove([machine])
        upstream = (lambda: resolvers) if resolvers else self.upstream
        self._listeners[machine] = _Listener(Asker(machine, self._resolver, self.lock, self._loop, upstream), sockets)

    def _remove(self, machines: Sequence[str]) -> None:
        for machine in machines:
            listener = self._listeners.pop(machine, None)
            if listener:
                listener.close()


class _Listener:
    """A machine's two sockets."""

    def __init__(self, asker: Asker, sockets: Sockets) -> None:
        self._asker = asker
        self._sockets = sockets
        self._clients: set[Client] = set()
        asker.loop.selector.register(sockets.datagrams, selectors.EVENT_READ, self._datagrams)
        asker.loop.selector.register(sockets.connections, selectors.EVENT_READ, self._connections)

    def close(self) -> None:
        """Close them, and all that is under way."""
        for each in (self._sockets.datagrams, self._sockets.connections):
            self._asker.loop.selector.unregister(each)
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
            self._clients.add(Client(self._asker, client, self._clients.discard))
