"""An answer of HTTP/1.1 as it comes in (RFC 9112): its head, its body in pieces, or the bare stream it has become.

For a peer we know, the daemon; still, what it says is checked once, here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gasang.core.errors import BadInputError, NoDaemonError

READ: Final = 1 << 18
"""Bytes asked of the socket at once."""
_HEAD_MOST: Final = 1 << 16
_LINE_MOST: Final = 1 << 24
_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")


def broken(cause: str) -> NoDaemonError:
    """The error of a daemon that goes away in the middle."""
    return NoDaemonError("daemon", cause, "gasang daemon status tells whether it runs")


class Answer:
    """One answer. `status` and `headers` (names in lower case) are there at once, the body is read on demand. Close it, or use `with`."""

    def __init__(self, stream: socket.socket, *, without_body: bool = False) -> None:
        """Read the head, past interim ones; the answer to HEAD is `without_body` whatever it says.

        Raises NoDaemonError where the daemon goes away, BadInputError for what is no HTTP.
        """
        self._stream = stream
        self._kept = b""
        self._chunk = 0
        self.status, self.headers = 100, dict[str, str]()
        while 100 <= self.status < 200 and self.status != 101:
            self.status, self.headers = _head(self._until(b"\r\n\r\n", _HEAD_MOST))
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = _length(self.headers)
        if without_body or self.status in (204, 304):
            self._left, self._chunked = 0, False

    # the body

    def read(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises NoDaemonError where it breaks off."""
        if self._chunked:
            return self._read_chunk()
        if self._left == 0:
            return b""
        data = self._receive(READ if self._left is None else min(READ, self._left))
        if self._left is not None:
            if not data:
                raise broken("its answer broke off")
            self._left -= len(data)
        return data

    def _read_chunk(self) -> bytes:
        if self._chunk == 0:
            if self._left == 0:
                return b""
            self._chunk = _hexadecimal(self._until(b"\r\n", 1 << 10))
            if self._chunk == 0:
                self._until(b"\r\n", _HEAD_MOST)
                self._left = 0
                return b""
        data = self._receive(min(READ, self._chunk))
        if not data:
            raise broken("its answer broke off")
        self._chunk -= len(data)
        if self._chunk == 0 and self._until(b"\r\n", 2):
            raise BadInputError("daemon", "its answer is damaged: a chunk does not end where it says", "look at daemon.log")
        return data

    def whole(self) -> bytes:
        """All of the rest of the body."""
        return b"".join(iter(self.read, b""))

    def json(self) -> Any:
        """The body as a JSON value, None where there is none. Raises BadInputError."""
        data = self.whole()
        return _value(data) if data.strip() else None

    def lines(self) -> Iterator[dict[str, Any]]:
        """The body's JSON objects, one a line, as they come. Raises BadInputError."""
        rest = b""
        while data := self.read():
            *full, rest = (rest + data).split(b"\n")
            yield from (_object(line) for line in full if line.strip())
            if len(rest) > _LINE_MOST:
                raise BadInputError("daemon", "a line of its answer is too long", "look at daemon.log")
        if rest.strip():
            yield _object(rest)

    # the stream

    def take_over(self) -> tuple[socket.socket, bytes]:
        """The connection, no longer HTTP, and what has come on it already. It is the caller's to close."""
        early, self._kept = self._kept, b""
        return self._stream, early

    def close(self) -> None:
        """Let the connection go."""
        self._stream.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # bytes

    def _receive(self, most: int) -> bytes:
        if self._kept:
            data, self._kept = self._kept[:most], self._kept[most:]
            return data
        return self._from_socket(most)

    def _from_socket(self, most: int) -> bytes:
        try:
            return self._stream.recv(most)
        except OSError as error:
            raise broken("the connection broke off") from error

    def _until(self, mark: bytes, most: int) -> bytes:
        """What comes before `mark`."""
        while mark not in self._kept:
            if len(self._kept) > most:
                raise BadInputError("daemon", "its answer is no HTTP", "look at what listens on its socket")
            data = self._from_socket(READ)
            if not data:
                raise broken("it went away without an answer")
            self._kept += data
        found, _, self._kept = self._kept.partition(mark)
        return found


def _head(data: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of a head."""
    first, *rest = data.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise BadInputError("daemon", "its answer is no HTTP", "look at what listens on its socket")
    pairs = (line.partition(":") for line in rest)
    return int(status[:3]), {name.strip().lower(): text.strip() for name, _, text in pairs}


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadInputError("daemon", "the length of its answer is no number", "look at daemon.log")
    return int(text)


def _hexadecimal(text: bytes) -> int:
    digits = text.partition(b";")[0].strip()
    if not digits or len(digits) > 15 or not _DIGITS.issuperset(digits):
        raise BadInputError("daemon", "its answer is damaged: a chunk has no length", "look at daemon.log")
    return int(digits, 16)


def _value(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInputError("daemon", "its answer is no JSON", "look at daemon.log") from error


def _object(line: bytes) -> dict[str, Any]:
    found = _value(line)
    if not isinstance(found, dict):
        raise BadInputError("daemon", "a line of its answer is no object", "look at daemon.log")
    return found
