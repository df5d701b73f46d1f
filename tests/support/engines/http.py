"""HTTP to an engine's socket, byte by byte: what clients rely on that commands do not show."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from support.engines.engine import Engine


@contextlib.contextmanager
def connected(engine: Engine) -> Iterator[socket.socket]:
    """A connection to the engine."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(engine.socket))
        yield client


def ask(client: socket.socket, method: str, path: str, body: Any = None, headers: Sequence[str] = ()) -> None:
    """Send a request."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: docker", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)


def head(client: socket.socket) -> tuple[int, dict[str, str]]:
    """Read an answer's head: status and headers by lower-case name."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, data
        data += byte
    first, *rest = data.decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}


def whole(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read an answer: status, headers, body."""
    status, headers = head(client)
    data = b""
    if "content-length" in headers:
        while len(data) < int(headers["content-length"]):
            data += client.recv(int(headers["content-length"]) - len(data))
    elif headers.get("transfer-encoding") == "chunked":
        while not data.endswith(b"0\r\n\r\n"):
            data += client.recv(65536)
        data = unchunked(data)
    return status, headers, data


def unchunked(data: bytes) -> bytes:
    """The body of a chunked answer."""
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        found, data = found + data[:count], data[count + 2 :]
    return found


def call(engine: Engine, method: str, path: str, body: Any = None, headers: Sequence[str] = ()) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    with connected(engine) as client:
        ask(client, method, path, body, headers)
        if method == "HEAD":
            return (*head(client), b"")
        return whole(client)
