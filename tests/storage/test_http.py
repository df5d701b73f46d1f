"""Disks on web servers: good ones, and those that do not serve parts, change their file, stall or lie."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gasang.core.errors import GasangError, UnsupportedError
from gasang.storage.formats import open_given
from gasang.storage.http import BLOCK, HttpStore, Patience
from gasang.storage.http_whole import download
from gasang.storage.images.table import create_image

SOON = Patience(connect=20, stall=20, tries=3, pause=0.01)
Answer = Callable[[BaseHTTPRequestHandler, int, int], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first, _, last = self.headers.get("Range", "bytes=0-0").removeprefix("bytes=").partition("-")
            answer(self, int(first), int(last))

        def log_message(self, text: str, *args: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/disk"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def part(handler: BaseHTTPRequestHandler, content: bytes, first: int, last: int, tag: str = '"1"', *, cut: int = 0) -> None:
    """The answer of a good server, short of `cut` bytes."""
    last = min(last, len(content) - 1)
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
    handler.send_header("Content-Length", str(last - first + 1))
    handler.send_header("ETag", tag)
    handler.end_headers()
    handler.wfile.write(content[first : last + 1 - cut])
    if cut:
        handler.wfile.flush()
        handler.connection.close()
        handler.close_connection = True


def test_a_qcow2_image_is_read_in_parts(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3 << 20)
    with closing(create_image(tmp_path / "disk.qcow2", "qcow2", 64 << 20)) as image:
        image.write(20 << 20, data)
    content = (tmp_path / "disk.qcow2").read_bytes()
    asked: list[int] = []

    def answer(handler: BaseHTTPRequestHandler, first: int, last: int) -> None:
        asked.append(last - first + 1)
        part(handler, content, first, last)

    with serving(answer) as url:
        with closing(open_given(url, read_only=True)) as disk:
            assert disk.size == 64 << 20
            assert disk.read((20 << 20) + 5, 1000) == data[5:1005]
            assert sum(asked) < len(content)
            assert disk.read(20 << 20, 3 << 20) == data
            assert disk.read(0, 4096) == bytes(4096)
        with pytest.raises(GasangError, match="only read"):
            open_given(url)


def test_random_reads(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(5 * BLOCK + 77)
    flaky = iter([5, 0, 0, 7] + [0] * 1000)
    with (
        serving(lambda handler, first, last: part(handler, content, first, last, cut=next(flaky))) as url,
        closing(HttpStore(url, SOON)) as store,
    ):
        rng = random.Random(3)
        assert store.size() == len(content)
        for _ in range(30):
            at, length = rng.randrange(len(content)), rng.randrange(1, 2 * BLOCK)
            assert store.read(at, length) == content[at : at + length].ljust(length, b"\0")


def _says(status: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, first: int, last: int) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "4")
        handler.end_headers()
        handler.wfile.write(b"text")

    return answer


def _stalls(handler: BaseHTTPRequestHandler, first: int, last: int) -> None:
    handler.connection.recv(1)  # until the client has had enough


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_says(200), "does not serve parts"),
        (_says(206), "does not say which part"),
        (_says(206, Content_Range="bytes 7-10/400"), "another part"),
        (_says(206, Content_Range="bytes 0-3/99999999999999999"), "says that it has"),
        (_says(206, Content_Range="bytes 0-3/x"), "does not say which part"),
        (_says(404), "no such file"),
        (_says(403), "refuses"),
        (_says(416), "empty"),
        (_says(503), "says 503"),
        (_says(418), "says 418"),
        (_says(302, Location="file:///etc/shadow"), "where we do not go"),
        (_says(302, Location="/disk"), "without end"),
        (_stalls, "does not answer"),
    ],
)
def test_servers_that_do_not_help(answer: Answer, why: str) -> None:
    with serving(answer) as url, pytest.raises(GasangError, match=why):
        HttpStore(url, replace(SOON, stall=0.4) if answer is _stalls else SOON)


def test_a_file_that_changes_is_noticed() -> None:
    content = bytes(3 * BLOCK)
    tags = iter(['"1"', '"2"'])
    with (
        serving(lambda handler, first, last: part(handler, content, first, last, next(tags))) as url,
        closing(HttpStore(url, SOON)) as store,
    ):
        assert store.read(0, 10) == bytes(10)
        with pytest.raises(GasangError, match="has changed"):
            store.read(2 * BLOCK, 10)


def test_nobody_there_and_no_address() -> None:
    for text, why in (("http://127.0.0.1:1/disk", "cannot be read"), ("http:///disk", "no address"), ("http://a b/", "no address")):
        with pytest.raises(GasangError, match=why):
            HttpStore(text, SOON)


def test_a_file_without_parts_is_downloaded_as_a_whole(tmp_path: Path) -> None:
    content, tries, told = random.Random(3).randbytes(3 << 20), [], list[int]()

    def answer(handler: BaseHTTPRequestHandler, first: int, last: int) -> None:
        tries.append(first)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: 1 << 20] if len(tries) == 1 else content)
        handler.close_connection = True

    with serving(answer) as url:
        download(url, tmp_path / "disk", told.append, SOON)
        assert (tmp_path / "disk").read_bytes() == content
        assert (len(tries), told[0], told[-1]) == (2, 0, len(content))
        with pytest.raises(UnsupportedError, match="parts"):
            HttpStore(url, SOON)
    with serving(lambda handler, first, last: handler.send_error(404)) as url, pytest.raises(GasangError, match="no such file"):
        download(url, tmp_path / "disk", told.append, SOON)
    with serving(lambda handler, first, last: handler.send_error(503)) as url, pytest.raises(GasangError, match="says 503"):
        download(url, tmp_path / "disk", told.append, SOON)
