"""A published UDP port, passed on by the proxy.

Each client's packets leave by a socket of their own, so that answers find their way back, until the client has been quiet for a while.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from time import monotonic
from typing import Any, Final

from gasang.network.loop import Loop
from gasang.network.ports import Held

_IDLE: Final = 90.0
_ROUND: Final = 15.0
_MOST_CLIENTS: Final = 1024
_DATAGRAM: Final = 65536
_BURST: Final = 64


class Datagrams:
    """The port."""

    def __init__(self, loop: Loop, held: Held) -> None:
        self.clients: dict[Any, tuple[socket.socket, float]] = {}
        self._loop = loop
        self._socket = held.socket
        self._target = held.port.machine_address, held.port.machine_port
        self._family = socket.AF_INET6 if ":" in held.port.machine_address else socket.AF_INET
        self._round = -1
        loop.selector.register(self._socket, selectors.EVENT_READ, self._arrived)

    def close(self) -> None:
        """Close the port and forget its clients."""
        self._loop.deadlines.cancel(self._round)
        self._loop.selector.unregister(self._socket)
        self._socket.close()
        for client in list(self.clients):
            self._forget(client)

    def expire(self, now: float) -> None:
        """Forget clients that have been quiet, and look again later if there are others."""
        for client in [client for client, (_, used) in self.clients.items() if used + _IDLE <= now]:
            self._forget(client)
        self._round = self._loop.deadlines.after(_ROUND, lambda: self.expire(monotonic())) if self.clients else -1

    def _arrived(self, _events: int) -> None:
        """Pass packets on to the machine."""
        for _ in range(_BURST):
            try:
                data, client = self._socket.recvfrom(_DATAGRAM)
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._outlet(client).send(data)

    def _outlet(self, client: Any) -> socket.socket:
        """The socket for that client, which becomes the last to be forgotten."""
        known = self.clients.pop(client, None)
        outlet = known[0] if known else self._open(client)
        self.clients[client] = outlet, monotonic()
        if self._round < 0:
            self.expire(monotonic())
        return outlet

    def _open(self, client: Any) -> socket.socket:
        if len(self.clients) >= _MOST_CLIENTS:
            self._forget(next(iter(self.clients)))
        outlet = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            outlet.connect(self._target)
        except OSError:
            outlet.close()
            raise
        self._loop.selector.register(outlet, selectors.EVENT_READ, lambda _events: self._back(client, outlet))
        return outlet

    def _back(self, client: Any, outlet: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                data = outlet.recv(_DATAGRAM)
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._socket.sendto(data, client)

    def _forget(self, client: Any) -> None:
        outlet, _ = self.clients.pop(client)
        self._loop.selector.unregister(outlet)
        outlet.close()
