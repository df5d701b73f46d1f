"""The sockets of connections to registries, where another thread can end them: whoever reads from one, or waits for it, hears of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from weakref import WeakSet

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Sockets:
    """Those of one transport. `pools` are the classes that urllib3 makes its pools of, by scheme."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._over = False
        self.pools = _pools(self)

    def keep(self, stream: socket.socket) -> None:
        """A connection has been made; it ends at once where all have ended."""
        with self._lock:
            self._open.add(stream)
            over = self._over
        if over:
            _end(stream)

    def end(self) -> None:
        """End every connection, and those that will be made."""
        with self._lock:
            self._over = True
            found = list(self._open)
        for stream in found:
            _end(stream)


def _end(stream: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        socket.socket.shutdown(stream, socket.SHUT_RDWR)  # not TLS's own: its reader is in another thread


def _pools(sockets: Sockets) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.keep(self.sock)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.keep(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
