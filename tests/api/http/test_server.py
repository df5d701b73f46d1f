"""The HTTP server, against raw sockets: requests, errors, streams, taking over."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route, Router, split_version
from gasang.api.http.server import Server
from gasang.core.errors import NotFoundError, UsageError


async def _echo(request: Request, reply: Reply) -> None:
    await reply.json({"body": (await request.content()).decode(), "name": request.arguments.get("name"), "a": request.text("a")})


async def _fail(request: Request, reply: Reply) -> None:
    raise NotFoundError("No such thing", "x")


async def _fault(request: Request, reply: Reply) -> None:
    raise ZeroDivisionError("a fault of ours")


async def _stream(request: Request, reply: Reply) -> None:
    stream = await reply.stream("application/json")
    await stream.line({"n": 1})
    await stream.line({"n": 2})
    await stream.end()


async def _take(request: Request, reply: Reply) -> None:
    taken, early = await reply.take_over("application/vnd.docker.raw-stream")
    loop = asyncio.get_running_loop()
    data = early or await loop.sock_recv(taken, 100)
    await loop.sock_sendall(taken, data.upper())
    taken.close()


async def _empty(request: Request, reply: Reply) -> None:
    await reply.empty()


ROUTER = Router(
    [
        Route("POST", "/echo/{name*}/json", _echo),
        Route("POST", "/echo", _echo),
        Route("GET", "/fail", _fail),
        Route("GET", "/fault", _fault),
        Route("GET", "/stream", _stream),
        Route("POST", "/take", _take),
        Route("DELETE", "/empty", _empty),
    ]
)


async def _application(request: Request, reply: Reply) -> None:
    matched, handler = ROUTER.match(request)
    await handler(matched, reply)


def talk(tmp_path: Path, client: Callable[[socket.socket], Awaitable[bytes]]) -> bytes:
    """What `client` gets from a server of its own."""

    async def run() -> bytes:
        path = tmp_path / "s"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        server = asyncio.ensure_future(Server(listener, _application, [("Api-Version", "1.50")]).serve())
        stream = socket.socket(socket.AF_UNIX)
        stream.setblocking(False)
        await asyncio.get_running_loop().sock_connect(stream, str(path))
        try:
            return await asyncio.wait_for(client(stream), 10)
        finally:
            stream.close()
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)
            listener.close()

    return asyncio.run(run())


def exchange(tmp_path: Path, request: bytes, *, half_close: bool = True) -> bytes:
    async def client(stream: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(stream, request)
        if half_close:
            stream.shutdown(socket.SHUT_WR)
        parts = []
        try:
            while data := await loop.sock_recv(stream, 65536):
                parts.append(data)
        except ConnectionError:
            pass
        return b"".join(parts)

    return talk(tmp_path, client)


def test_a_body_and_arguments(tmp_path: Path) -> None:
    answer = exchange(tmp_path, b"POST /v1.41/echo/a/b/json?a=1&a=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"Api-Version: 1.50" in head
    assert json.loads(body) == {"body": "hi", "name": "a/b", "a": "2"}


def test_several_requests_on_one_connection(tmp_path: Path) -> None:
    one = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    assert exchange(tmp_path, one * 3).count(b'"body":"hi"') == 3


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        (b"GET /fail", b"404", b"No such thing: x"),
        (b"GET /nothing", b"404", b"page not found"),
        (b"GET /fault", b"500", b"a fault of ours"),
        (b"PATCH /echo", b"404", b"page not found"),
    ],
)
def test_errors_are_json(tmp_path: Path, line: bytes, status: bytes, text: bytes) -> None:
    answer = exchange(tmp_path, line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert text in answer
    assert "message" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_stream_is_chunked_and_ends(tmp_path: Path) -> None:
    answer = exchange(tmp_path, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'{"n":1}' in answer
    assert answer.endswith(b"0\r\n\r\n")


def test_no_body_where_there_is_none(tmp_path: Path) -> None:
    answer = exchange(tmp_path, b"DELETE /empty HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("upgrade", "status"), [(b"Connection: Upgrade\r\nUpgrade: tcp\r\n", b"101 UPGRADED"), (b"", b"200 OK")])
def test_a_connection_is_taken_over_with_what_came_early(tmp_path: Path, upgrade: bytes, status: bytes) -> None:
    answer = exchange(tmp_path, b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + upgrade + b"\r\nearly")
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"application/vnd.docker.raw-stream" in head
    assert rest == b"EARLY"


def test_what_is_no_http_is_refused_and_the_connection_ends(tmp_path: Path) -> None:
    assert exchange(tmp_path, b"\x16\x03\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_dropped(tmp_path: Path, raw: bytes) -> None:
    answer = exchange(tmp_path, raw)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


def test_versions_and_parameters() -> None:
    assert split_version("/v1.41/x") == ((1, 41), "/x")
    assert split_version("/v1.41") == (None, "/v1.41")
    request = Request("GET", "/", {"t": ["yes"], "f": ["False"], "n": ["x"], "j": ["{"]}, {}, body=None)  # type: ignore[arg-type]
    assert request.flag("t")
    assert not request.flag("f")
    with pytest.raises(UsageError):
        request.number("n")
    with pytest.raises(UsageError):
        request.document_of("j")
