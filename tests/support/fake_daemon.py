"""A daemon that says what a test told it to: HTTP on a unix socket, each request kept for the test to look at."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Told:
    """What to answer: a JSON value or bytes; `chunks` are sent one by one; `talk` takes an upgraded connection over."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] | None = None
    talk: Callable[[socket.socket], None] | None = None


class FakeDaemon:
    """Listens at `path`; `answers` are by "METHOD /path". What is not there is a 404."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, Told | list[Told]] = {}
        self.asked: list[Asked] = []
        self._listener = socket.socket(socket.AF_UNIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def tells(self, request: str, body: Any = None, **more: Any) -> None:
        """Answer `request` ("GET /containers/json") so; told twice, the answers are given in turn."""
        told = Told(body, **more)
        before = self.answers.get(request)
        if before is None:
            self.answers[request] = told
        else:
            self.answers[request] = [*(before if isinstance(before, list) else [before]), told]

    def of(self, request: str) -> list[Asked]:
        """The requests of a kind, in order."""
        return [one for one in self.asked if f"{one.method} {one.path}" == request]

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(stream,), daemon=True).start()

    def _client(self, stream: socket.socket) -> None:
        with stream, stream.makefile("rb") as file:
            first = file.readline().decode()
            if not first:  # a client that only looked whether somebody listens
                return
            asked = _read(first, file)
            self.asked.append(asked)
            name = f"{asked.method} {asked.path}"
            told = self.answers.get(name, Told({"message": f"{name}: nothing is there; try another"}, 404))
            if isinstance(told, list):
                told = told.pop(0) if len(told) > 1 else told[0]
            try:
                _answer(stream, told, asked.method == "HEAD")
            except (BrokenPipeError, ConnectionResetError):
                return


def _read(first: str, file: Any) -> Asked:
    method, target, _ = first.split(" ", 2)
    headers: dict[str, str] = {}
    while line := file.readline().decode().strip():
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        file.readline()
    else:
        body = file.read(int(headers.get("content-length", 0)))
    split = urlsplit(target)
    return Asked(method, unquote(split.path), parse_qs(split.query, keep_blank_values=True), headers, body)


def _answer(stream: socket.socket, told: Told, bare: bool) -> None:
    if told.talk:
        lines = "".join(f"{name}: {text}\r\n" for name, text in told.headers.items())
        stream.sendall(f"HTTP/1.1 101 UPGRADED\r\n{lines}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        told.talk(stream)
        return
    data = told.body if isinstance(told.body, bytes) else b"" if told.body is None else json.dumps(told.body).encode()
    framing = "Transfer-Encoding: chunked" if told.chunks is not None else f"Content-Length: {len(data)}"
    lines = "".join(f"{name}: {text}\r\n" for name, text in told.headers.items())
    stream.sendall(f"HTTP/1.1 {told.status} X\r\n{lines}{framing}\r\n\r\n".encode() + (b"" if bare else data))
    for chunk in told.chunks or ():
        stream.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    if told.chunks is not None:
        stream.sendall(b"0\r\n\r\n")


def frame(stream: int, data: bytes) -> bytes:
    """A frame of a multiplexed stream."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
