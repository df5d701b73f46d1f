"""One HTTP/1.1 connection: requests in, replies out, or the bare socket for whoever takes it over.

The socket is used directly, without asyncio's transports: nothing is read ahead of what is asked for, so that a connection
that is taken over (101 UPGRADED) can be passed to another process with every byte accounted for.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import h11

from gasang.api.http.request import Request
from gasang.core.errors import UsageError

READ: Final = 256 << 10
"""Bytes read at once: build contexts and image archives come through here."""
Headers = Iterable[tuple[str, str]]


class Connection:
    """A client's connection on a non-blocking stream socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self._loop = asyncio.get_running_loop()
        self._protocol = h11.Connection(h11.SERVER)
        self._ended = False
        self.taken_over = False

    # requests

    async def request(self) -> Request | None:
        """The next request, None where the client is done. Raises UsageError for what is no HTTP."""
        try:
            event = await self._event()
        except h11.RemoteProtocolError as error:
            raise UsageError("request", f"it is not valid HTTP ({error})", "speak HTTP/1.1") from error
        if not isinstance(event, h11.Request):
            return None
        target = _target(event.target.decode("latin-1"))
        return Request(
            method=event.method.decode("ascii"),
            path=unquote(target.path, errors="replace"),
            query=parse_qs(target.query, keep_blank_values=True, errors="replace"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers},
            body=self,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of the request as it arrives. Raises ConnectionError where the client breaks off, UsageError for wrong chunks."""
        while self._protocol.their_state is h11.SEND_BODY:
            try:
                event = await self._event()
            except h11.RemoteProtocolError as error:
                if self._ended:
                    raise ConnectionError("the body broke off") from error
                raise UsageError("request body", f"it is not valid HTTP ({error})", "send chunks as RFC 9112 has them") from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def next_cycle(self) -> bool:
        """Be ready for another request on this connection; False where it has to end."""
        async for _ in self.chunks():
            pass
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    async def gone(self) -> None:
        """Return when the client closes its side; what it sends meanwhile is kept for the next request."""
        while data := await self._loop.sock_recv(self._socket, READ):
            self._protocol.receive_data(data)

    async def _event(self) -> Any:
        while True:
            event = self._protocol.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._protocol.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            data = await self._loop.sock_recv(self._socket, READ)
            self._ended = not data
            self._protocol.receive_data(data)

    # replies

    @property
    def replied(self) -> bool:
        """Whether a reply has begun: an error can then no longer be told by a status."""
        return self.taken_over or self._protocol.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a reply."""
        await self._send(h11.Response(status_code=status, headers=list(headers)))

    async def data(self, data: bytes) -> None:
        """Send a piece of the body."""
        if data:
            await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """The body is complete."""
        await self._send(h11.EndOfMessage())

    async def take_over(self, media_type: str) -> tuple[socket.socket, bytes]:
        """Answer that the connection is no longer HTTP; the socket, and the bytes that came after the request.

        A client that asks for an upgrade is told 101, an older one 200, as the Docker Engine API has it (attach, "Stream format").
        """
        async for _ in self.chunks():
            pass
        early, _ = self._protocol.trailing_data
        upgrades = self._protocol.their_state is h11.MIGHT_SWITCH_PROTOCOL  # type: ignore[attr-defined]
        extra = [("Connection", "Upgrade"), ("Upgrade", "tcp")] if upgrades else []
        await self.give_away("101 UPGRADED" if upgrades else "200 OK", [("Content-Type", media_type), *extra])
        return self._socket, early

    async def give_away(self, status: str, headers: Headers) -> socket.socket:
        """Send a head and leave the socket to the caller."""
        self.taken_over = True
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        await self._loop.sock_sendall(self._socket, f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())
        return self._socket

    async def _send(self, event: Any) -> None:
        data = self._protocol.send(event)
        if data:
            await self._loop.sock_sendall(self._socket, data)

    def close(self) -> None:
        """Let the client go."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _target(text: str) -> SplitResult:
    """Path and query of a request line; the path of a whole address as proxies write it. Raises UsageError."""
    if text.startswith("/"):
        path, _, query = text.partition("?")
        return SplitResult("", "", path, query, "")
    try:
        return urlsplit(text)
    except ValueError as error:
        raise UsageError("request", f"its address is not valid ({error})", "give a path") from error


class Reply:
    """The answer to one request: exactly one of its methods is called."""

    def __init__(self, connection: Connection, *, without_body: bool, headers: Headers = ()) -> None:
        self.connection = connection
        self._without_body = without_body
        self._headers = list(headers)

    async def json(self, value: Any, status: int = 200) -> None:
        """A JSON document."""
        await self.content(json.dumps(value, separators=(",", ":")).encode() + b"\n", "application/json", status)

    async def content(self, data: bytes, media_type: str, status: int = 200, headers: Headers = ()) -> None:
        """A body that is there as a whole."""
        head = [*self._headers, *headers, ("Content-Type", media_type), ("Content-Length", str(len(data)))]
        await self.connection.begin(status, head)
        if not self._without_body:
            await self.connection.data(data)
        await self.connection.end()

    async def empty(self, status: int = 204, headers: Headers = ()) -> None:
        """No body."""
        length = [] if status in (204, 304) else [("Content-Length", "0")]
        await self.connection.begin(status, [*self._headers, *headers, *length])
        await self.connection.end()

    async def stream(self, media_type: str, status: int = 200, headers: Headers = ()) -> Stream:
        """A body that is made while it is sent; the head leaves at once."""
        await self.connection.begin(status, [*self._headers, *headers, ("Content-Type", media_type), ("Transfer-Encoding", "chunked")])
        return Stream(self.connection)

    async def bare(self, media_type: str) -> socket.socket:
        """A body that ends with the connection, written to the socket itself; it is the caller's to close."""
        async for _ in self.connection.chunks():
            pass
        head = [*self._headers, ("Content-Type", media_type), ("Connection", "close")]
        return await self.connection.give_away("200 OK", head)

    async def take_over(self, media_type: str) -> tuple[socket.socket, bytes]:
        """The bare socket; see Connection.take_over."""
        return await self.connection.take_over(media_type)


class Stream:
    """The body of a reply while it is made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        """Send bytes; waits while the client is slow. Raises ConnectionError where it is gone."""
        await self._connection.data(data)

    async def line(self, value: Any) -> None:
        """Send a JSON document and a line's end."""
        await self.send(json.dumps(value, separators=(",", ":")).encode() + b"\r\n")

    async def end(self) -> None:
        """The body is complete."""
        await self._connection.end()

    async def gone(self) -> None:
        """Return when the client goes away."""
        await self._connection.gone()
