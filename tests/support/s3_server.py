"""A store that speaks S3 in a process of its own, and a relay before it in this one that counts, and can misbehave."""

from __future__ import annotations

import http.client
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": "127.0.0.1",
}  # fmt: skip
_HOP = frozenset(("connection", "transfer-encoding", "server", "date", "keep-alive"))
_OURS = _HOP | {"expect", "content-length"}


@dataclass
class Request:
    """One that passes: `name` is the object's, without bucket and query."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def name(self) -> str:
        return urlsplit(self.path).path.partition("/")[2].partition("/")[2]

    @property
    def query(self) -> str:
        return urlsplit(self.path).query

    @property
    def changes(self) -> bool:
        return self.method in ("PUT", "POST", "DELETE")


@dataclass
class Answer:
    """What comes back; with `cut`, no more than that many bytes of its body do."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None


Fault = Callable[[Request, Callable[[], Answer]], Answer | None]
"""Given a request and the way to have it answered; None closes the connection."""


def honest(request: Request, answer: Callable[[], Answer]) -> Answer:
    return answer()


@dataclass
class Relay:
    """Where the store is to be reached; `fault` is its manners, `seen` what passed."""

    url: str = ""
    fault: Fault = honest
    seen: list[Request] = field(default_factory=list)

    def sent(self) -> int:
        """Bytes of all bodies that were sent to it."""
        return sum(len(each.body) for each in self.seen)


@contextmanager
def real_server() -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        try:
            assert process.stderr is not None
            drain = threading.Thread(target=process.stderr.read, daemon=True)
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise AssertionError(f"the server did not start: {''.join(lines)}")
            drain.start()
            yield found[0]
        finally:
            process.terminate()
            process.wait()
            if drain.ident is not None:
                drain.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    made: Relay
    target: str

    def handle_any(self) -> None:
        request = Request(self.command, self.path, self._body(), dict(self.headers))
        self.made.seen.append(request)
        answer = self.made.fault(request, lambda: self._ask(request))
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in (*_HOP, "content-length"):
                self.send_header(name, value)
        told = {name.lower(): value for name, value in answer.headers.items()}
        self.send_header("Content-Length", told["content-length"] if self.command == "HEAD" else str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _ask(self, request: Request) -> Answer:
        parts = urlsplit(self.target)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _OURS}
            connection.request(request.method, request.path, request.body, {**headers, "Content-Length": str(len(request.body))})
            got = connection.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read())
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # whoever was cut off closed it


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """A relay to the server at `target`."""
    made = Relay()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"made": made, "target": target}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
