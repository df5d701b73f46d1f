"""An asker who came by TCP: questions and answers, each behind its length in two bytes (RFC 7766).

It may ask on before it is answered. One that is idle, or does not take its answers, is hung up on.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Final

from gasang.network.dns.exchange import Asker

_IDLE: Final = 10.0
_MOST_UNSENT: Final = 1 << 18


class Client:
    """One connection."""

    def __init__(self, asker: Asker, client: socket.socket, gone: Callable[[Client], None]) -> None:
        client.setblocking(False)
        self._asker = asker
        self._socket = client
        self._gone = gone
        self._received = bytearray()
        self._unsent = bytearray()
        self._open = True
        self._deadline = -1
        self._events = selectors.EVENT_READ
        asker.loop.selector.register(client, selectors.EVENT_READ, self._ready)
        self._rest()

    def close(self) -> None:
        """Hang up."""
        if self._open:
            self._open = False
            self._asker.loop.deadlines.cancel(self._deadline)
            self._asker.loop.selector.unregister(self._socket)
            self._socket.close()
            self._gone(self)

    def _rest(self) -> None:
        self._asker.loop.deadlines.cancel(self._deadline)
        self._deadline = self._asker.loop.deadlines.after(_IDLE, self.close)

    def _ready(self, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush()
            if events & selectors.EVENT_READ and self._open:
                self._read()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._socket.recv(65537)
        if not data:
            self.close()
            return
        self._rest()
        self._received += data
        while self._open and len(self._received) >= 2:
            size = int.from_bytes(self._received[:2], "big") + 2
            if len(self._received) < size:
                return
            question = bytes(self._received[2:size])
            del self._received[:size]
            self._asker.ask(question, self._answer, stream=True)

    def _answer(self, answer: bytes) -> None:
        if not self._open:
            return
        self._unsent += len(answer).to_bytes(2, "big") + answer
        if len(self._unsent) > _MOST_UNSENT:
            self.close()
            return
        try:
            self._flush()
        except BlockingIOError:
            self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)
        except OSError:
            self.close()

    def _flush(self) -> None:
        while self._unsent:
            sent = self._socket.send(self._unsent)
            del self._unsent[:sent]
        self._watch(selectors.EVENT_READ)

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._asker.loop.selector.modify(self._socket, events, self._ready)
