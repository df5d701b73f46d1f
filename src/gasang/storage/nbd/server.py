"""Offering disks to NBD clients: a thread a connection, the disk behind one lock.

Requests of a connection are done in order, their replies sent together where several came together. A client that does not finish what
it began, or does not take its replies, is let go after a while; the others do not notice. A host's or an image's fault is the error of
one request.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from typing import Final

from gasang.core.errors import GasangError
from gasang.storage.images.image import Image
from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.allocation import Allocation
from gasang.storage.nbd.protocol import ProtocolError
from gasang.storage.nbd.server_core import Export, Request, Session

HASTE: Final = 15.0
"""Seconds in which a client has chosen its disk."""
PATIENCE: Final = 60.0
"""Seconds without progress in the middle of a request or a reply."""
CONNECTIONS_MAX: Final = 64
_RECEIVE: Final = 1 << 18
_TOGETHER: Final = 1 << 20
"""Bytes of replies that wait for one another."""
_ZEROES: Final = bytes(1 << 20)

Warn = Callable[[str], None]


class Offer:
    """A disk that is offered under a name. One request at a time reaches it."""

    def __init__(self, image: Image, name: str, *, read_only: bool = False, description: str = "") -> None:
        self.image = image
        self.export = Export(name, image.size, read_only or image.read_only, description)
        self._lock = threading.Lock()
        self._allocation = Allocation(image.data)

    def answer(self, session: Session, request: Request) -> tuple[bytes, bytes]:
        """Do a request: what to send, its head and its data."""
        code = session.fault(request)
        if code:
            return session.failed(request, code, "the request makes no sense here"), b""
        try:
            with self._lock:
                if request.command == wire.READ:
                    return session.data_head(request), self.image.read(request.offset, request.length) if request.length else b""
                if request.command == wire.STATUS:
                    return session.status(request, self._allocation.extents(request.offset, request.length)), b""
                self._change(request)
            return session.done(request), b""
        except GasangError as error:
            return session.failed(request, wire.WIRE_ERRORS[errno.EIO], str(error)), b""
        except OSError as error:
            return session.failed(request, wire.WIRE_ERRORS.get(error.errno or 0, 5), error.strerror or ""), b""

    def _change(self, request: Request) -> None:
        if request.command == wire.WRITE:
            self.image.write(request.offset, request.data)
            self._allocation.wrote(request.offset, request.length)
        elif request.command == wire.ZEROES and request.flags & wire.NO_HOLE:
            for at in range(request.offset, request.offset + request.length, len(_ZEROES)):
                self.image.write(at, memoryview(_ZEROES)[: min(len(_ZEROES), request.offset + request.length - at)])
            self._allocation.wrote(request.offset, request.length)
        elif request.command in (wire.TRIM, wire.ZEROES):
            self.image.discard(request.offset, request.length)
            self._allocation.dropped()
        if request.command == wire.FLUSH or request.flags & wire.FUA:
            self.image.flush()

    def close(self) -> None:
        """Keep what was written, and close the disk. Raises what the image raises."""
        with self._lock:
            self.image.close()


class Server:
    """Serves `offers` on listening sockets until it is closed."""

    def __init__(self, offers: list[Offer], listeners: list[socket.socket], warn: Warn, *, connections: int = CONNECTIONS_MAX) -> None:
        self._offers = {offer.export.name: offer for offer in offers}
        self._exports = {name: offer.export for name, offer in self._offers.items()}
        self._listeners = listeners
        self._warn = warn
        self._most = connections
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = False

    def start(self) -> None:
        """Accept clients, in threads of their own."""
        for listener in self._listeners:
            thread = threading.Thread(target=self._accept, args=(listener,), name="nbd-accept", daemon=True)
            with self._lock:
                self._threads.add(thread)
                thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed, or the client has gone again
                if self._closing:
                    return
                continue
            with self._lock:
                room = len(self._clients) < self._most and not self._closing
                if room:
                    self._clients.add(client)
                    thread = threading.Thread(target=self.serve, args=(client,), name="nbd-client", daemon=True)
                    self._threads = {each for each in self._threads if each.is_alive()} | {thread}
                    thread.start()
            if not room:
                self._warn("a client was turned away: as many as may be are connected")
                client.close()

    def serve(self, client: socket.socket) -> None:
        """Answer a client that is connected, until it has gone; what it does wrong is warned of."""
        try:
            if client.family != socket.AF_UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._talk(client)
        except ProtocolError as error:
            self._warn(f"a client was let go: {error}")
        except TimeoutError:
            self._warn("a client was let go: it stood still in the middle of a request or a reply")
        except OSError:  # it has gone
            pass
        finally:
            with self._lock:  # who sees its connection end knows that there is room again
                self._clients.discard(client)
            client.close()

    def _talk(self, client: socket.socket) -> None:
        session = Session(self._exports)
        client.settimeout(HASTE)
        client.sendall(session.greeting())
        while session.export is None and not session.ended:
            data = client.recv(_RECEIVE)
            if not data:
                return
            client.sendall(session.feed(data))
        if session.export is None:
            return
        converse(client, session, self._offers[session.export.name])

    def close(self) -> None:
        """Accept nobody any more, finish what is being done, and close the disks. Raises what the images raise."""
        self._closing = True
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            clients, threads = list(self._clients), list(self._threads)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RD)  # its replies may still reach it
        for thread in threads:
            thread.join(PATIENCE)
        for offer in self._offers.values():
            offer.close()


def converse(client: socket.socket, session: Session, offer: Offer) -> None:
    """Answer the requests of a client that has chosen its disk, until it has gone. Raises OSError, TimeoutError, ProtocolError."""
    client.settimeout(PATIENCE)
    memory = bytearray(_RECEIVE)
    view = memoryview(memory)
    data = b""
    while True:
        _answer_all(client, session, offer, data)
        if session.ended:
            return
        try:
            length = client.recv_into(memory)
        except TimeoutError:
            if session.waiting:
                raise
            data = b""
            continue  # it has nothing to ask for
        if not length:
            return
        data = bytes(view[:length])


def _answer_all(client: socket.socket, session: Session, offer: Offer, came: bytes) -> None:
    parts: list[bytes] = []
    size = 0
    for request in session.requests(came):
        head, data = offer.answer(session, request)
        parts.append(head)
        if data:
            parts.append(data)
        size += len(data)
        if size > _TOGETHER or len(parts) > 500:
            send_all(client, parts)
            parts, size = [], 0
    if parts:
        send_all(client, parts)


def send_all(to: socket.socket, parts: list[bytes]) -> None:
    """Send all of `parts`, without joining large ones. Raises OSError."""
    if sum(map(len, parts)) < 1 << 16:
        to.sendall(b"".join(parts))
        return
    sent = to.sendmsg(parts)
    for part in parts:
        if sent >= len(part):
            sent -= len(part)
            continue
        to.sendall(memoryview(part)[sent:])
        sent = 0
