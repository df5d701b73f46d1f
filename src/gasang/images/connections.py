"""Connections of HTTP that another thread can end: a download that waits for its mirror is given up at once, not after its time-out."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.request
import weakref
from contextlib import suppress
from functools import partial
from typing import Any


class Connections:
    """The connections that were made, until `close`; those made later are closed at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = False

    def add(self, made: socket.socket) -> None:
        """One more."""
        with self._lock:
            self._sockets.add(made)
            closed = self._closed
        if closed:
            _end(made)

    def close(self) -> None:
        """End all of them: whoever reads from one is told that it has broken off."""
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        for made in sockets:
            _end(made)


def _end(made: socket.socket) -> None:
    with suppress(OSError):  # its own thread may have closed it already
        made.shutdown(socket.SHUT_RDWR)


class _Http(http.client.HTTPConnection):
    def __init__(self, connections: Connections, host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._connections = connections

    def connect(self) -> None:
        super().connect()
        self._connections.add(self.sock)


class _Https(_Http, http.client.HTTPSConnection):
    """The same over TLS: what `connect` calls next is HTTPSConnection's."""


class HttpHandler(urllib.request.HTTPHandler):
    """Opens http addresses over such connections."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Ask."""
        return self.do_open(partial(_Http, self._connections), req)


class HttpsHandler(urllib.request.HTTPSHandler):
    """Opens https addresses over such connections."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Ask."""
        return self.do_open(partial(_Https, self._connections), req, context=ssl.create_default_context())
