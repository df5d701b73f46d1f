"""Questions under way: to the host's resolvers and back, by UDP, or by TCP when the asker came by TCP.

Each attempt has a socket of its own, with a port and a number that an outsider would have to guess; it asks one resolver and is given a
fixed time, then the next resolver is asked.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Final

from gasang.core.errors import BadInputError
from gasang.network.dns import message
from gasang.network.dns.message import Query
from gasang.network.dns.resolver import Resolver
from gasang.network.loop import Loop

_PATIENCE: Final = 2.0
_ROUNDS: Final = 2
_MOST_UNDER_WAY: Final = 128
_PORT: Final = 53

Answered = Callable[[bytes], None]


class Asker:
    """A machine that asks, and what it has under way."""

    def __init__(
        self,
        machine: str,
        resolver: Resolver,
        lock: threading.Lock,
        loop: Loop,
        upstream: Callable[[], tuple[str, ...]],
    ) -> None:
        self.loop = loop
        self.upstream = upstream
        self.under_way: set[Attempt] = set()
        self._machine = machine
        self._resolver = resolver
        self._lock = lock

    def ask(self, data: bytes, answered: Answered, *, stream: bool) -> None:
        """Answer `data` by calling `answered`, now or later; what is no query gets an error, or silence if it is an answer itself."""
        try:
            query = message.read_query(data)
        except BadInputError:
            identity = message.identity_of(data)
            if identity is not None:
                answered(message.format_error(identity))
            return
        limit = 65535 if stream else query.room
        servers = self.upstream()
        with self._lock:
            answer = self._resolver.ask(self._machine, query, limit, servers)
        if answer is not None:
            answered(answer)
            return
        if not servers or len(self.under_way) >= _MOST_UNDER_WAY:
            answered(message.reply(query, message.SERVER_FAILURE, own=False))
            return
        attempt = Attempt(self, query, data, servers, answered, stream=stream)
        self.under_way.add(attempt)
        attempt.proceed()

    def learned(self, query: Query, data: bytes, foreign: message.Foreign, servers: tuple[str, ...]) -> None:
        """Keep what one of these resolvers said."""
        with self._lock:
            self._resolver.learned(query, data, foreign, servers)

    def close(self) -> None:
        """Give up what is under way."""
        for attempt in list(self.under_way):
            attempt.close()


class Attempt:
    """One question, asked of one resolver after the other."""

    def __init__(self, asker: Asker, query: Query, data: bytes, servers: tuple[str, ...], answered: Answered, *, stream: bool) -> None:
        self._asker = asker
        self._query = query
        self._data = data
        self._servers = list(servers * _ROUNDS)
        self._asked = servers
        self._answered = answered
        self._stream = stream
        self._identity = 0
        self._received = bytearray()
        self._unsent = b""
        self._socket: socket.socket | None = None
        self._deadline = -1

    def close(self) -> None:
        """Give up."""
        self._drop()
        self._asker.under_way.discard(self)

    def proceed(self) -> None:
        """Ask the next resolver; when there is none, say so."""
        while self._servers:
            self._drop()
            self._identity = secrets.randbelow(1 << 16)
            with contextlib.suppress(OSError):
                self._begin(self._servers.pop(0))
                self._deadline = self._asker.loop.deadlines.after(_PATIENCE, self.proceed)
                return
        self.close()
        self._answered(message.reply(self._query, message.SERVER_FAILURE, own=False))

    def _begin(self, server: str) -> None:
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        family, _, _, _, address = socket.getaddrinfo(server, _PORT, type=kind, flags=socket.AI_NUMERICHOST)[0]
        self._socket = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        error = self._socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, "no way to the resolver")
        question = message.renumbered(self._data, self._identity)
        self._received.clear()
        if self._stream:
            self._unsent = len(question).to_bytes(2, "big") + question
            self._asker.loop.selector.register(self._socket, selectors.EVENT_WRITE, self._connected)
        else:
            self._socket.send(question)
            self._asker.loop.selector.register(self._socket, selectors.EVENT_READ, self._datagram)

    def _drop(self) -> None:
        self._asker.loop.deadlines.cancel(self._deadline)
        if self._socket:
            with contextlib.suppress(KeyError):
                self._asker.loop.selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _datagram(self, _events: int) -> None:
        assert self._socket
        try:
            data = self._socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self.proceed()
            return
        self._consider(data, forged_is_end=False)

    def _connected(self, _events: int) -> None:
        assert self._socket
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.proceed()
            return
        if not self._unsent:
            self._asker.loop.selector.modify(self._socket, selectors.EVENT_READ, self._stream_data)

    def _stream_data(self, _events: int) -> None:
        assert self._socket
        try:
            data = self._socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.proceed()
            return
        self._received += data
        size = int.from_bytes(self._received[:2], "big") + 2
        if len(self._received) >= max(size, 3):
            self._consider(bytes(self._received[2:size]), forged_is_end=True)

    def _consider(self, data: bytes, *, forged_is_end: bool) -> None:
        try:
            foreign = message.check_answer(data, self._identity, self._query.question)
        except BadInputError:
            if forged_is_end:
                self.proceed()
            return
        if foreign.code in (message.SERVER_FAILURE, message.REFUSED) and self._servers:
            self.proceed()
            return
        self.close()
        self._asker.learned(self._query, data, foreign, self._asked)
        answer = message.renumbered(data, self._query.id)
        small = self._stream or len(answer) <= self._query.room or (len(answer) <= 65507 and self._query.edns is not None)
        self._answered(answer if small else message.emptied(answer, self._query.question))
