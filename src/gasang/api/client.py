"""The daemon's API from outside: requests over its unix socket, refusals back as the errors they were.

A connection carries one request. What the daemon refuses is raised as the class of core.errors that its status stands for, so
that a verb's exit code says the same whether the daemon or the verb itself found out.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from gasang.api.answer import Answer, broken
from gasang.core import errors
from gasang.core.errors import GasangError, NoDaemonError, PermissionDeniedError

_KINDS: Final[dict[int, type[GasangError]]] = {
    401: PermissionDeniedError,
    **{
        kind.http_status: kind
        for kind in (
            errors.UsageError,
            errors.NotFoundError,
            errors.StateError,
            errors.PermissionDeniedError,
            errors.UnsupportedError,
            errors.OutOfSpaceError,
            errors.TimedOutError,
            errors.NoDaemonError,
            errors.BadInputError,
        )
    },
}
"""HTTP status → error."""
Query = Mapping[str, object]
Body = Mapping[str, Any] | Iterable[bytes] | None
Headers = Mapping[str, str]
UPGRADE: Final = {"Connection": "Upgrade", "Upgrade": "tcp"}


def failure(status: int, sentence: str) -> GasangError:
    """A refusal as an error; its sentence is the daemon's ("subject: cause; hint")."""
    subject, colon, rest = sentence.partition(": ")
    if not colon:
        subject, rest = "daemon", sentence
    cause, _, hint = rest.partition("; ")
    return _KINDS.get(status, GasangError)(subject, cause, hint)


def path_of(*parts: str) -> str:
    """A path of the API: every part quoted, so that none can mean more than a name."""
    return "".join(f"/{quote(part, safe=':@')}" for part in parts)


class Client:
    """Speaks to the daemon that listens at `address`; where none does, `start` (if given) is called once and it is tried again."""

    def __init__(self, address: str, start: Callable[[], object] | None = None) -> None:
        self._address = address
        self._start = start

    # requests

    def call(self, method: str, path: str, query: Query | None = None, body: Body = None) -> Any:
        """The JSON value of the answer, None where it has none. Raises GasangError."""
        with self.open(method, path, query, body) as answer:
            return answer.json()

    def lines(
        self, method: str, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None
    ) -> Iterator[dict[str, Any]]:
        """The JSON objects of the answer as they come; one that tells of an error is raised. Raises GasangError."""
        with self.open(method, path, query, body, headers) as answer:
            for line in answer.lines():
                detail = line.get("errorDetail")
                if isinstance(detail, dict):
                    status = detail.get("status")
                    raise failure(status if isinstance(status, int) else 500, str(detail.get("message") or line.get("error")))
                yield line

    def open(self, method: str, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None) -> Answer:
        """The answer, its body unread; `headers` go with the usual ones. Raises GasangError where the daemon refuses or goes away."""
        stream = self._connect()
        try:
            self._send(stream, method, path, query, body, headers or {})
            answer = Answer(stream, without_body=method == "HEAD")
            if answer.status >= 400:
                raise failure(answer.status, _message(answer))
        except BaseException:
            stream.close()
            raise
        return answer

    def upgrade(self, path: str, query: Query | None = None, body: Body = None) -> Answer:
        """POST, and ask that the connection become a stream of both sides' bytes: see Answer.take_over. Raises GasangError."""
        return self.open("POST", path, query, body, UPGRADE)

    def running(self) -> bool:
        """Whether a daemon listens; none is started."""
        try:
            self._try().close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    # the connection

    def _connect(self) -> socket.socket:
        try:
            return self._try()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if self._start is None:
                raise NoDaemonError("daemon", "none runs", "gasang daemon start starts one") from error
        self._start()
        try:
            return self._try()
        except OSError as error:
            raise NoDaemonError("daemon", "it does not listen", f"look at the files beside {self._address}") from error

    def _try(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(self._address)
        except PermissionError as error:
            stream.close()
            raise PermissionDeniedError(f"socket {self._address}", "it belongs to another user", "run as that user") from error
        except OSError:
            stream.close()
            raise
        return stream

    def _send(self, stream: socket.socket, method: str, path: str, query: Query | None, body: Body, headers: Headers) -> None:
        words = urlencode({name: text for name, text in (query or {}).items() if text is not None}, doseq=True)
        head = [f"{method} {path}{'?' if words else ''}{words} HTTP/1.1", "Host: gasang"]
        head += [f"{name}: {text}" for name, text in headers.items()]
        data = b""
        if isinstance(body, Mapping):
            data = json.dumps(body).encode()
            head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        elif body is not None:
            head += ["Content-Type: application/x-tar", "Transfer-Encoding: chunked"]
        elif method == "POST":
            head.append("Content-Length: 0")
        try:
            stream.sendall("\r\n".join([*head, "", ""]).encode() + data)
            if body is not None and not isinstance(body, Mapping):
                _send_pieces(stream, body)
        except BrokenPipeError:
            return  # a daemon that refuses early closes its end; its answer says why
        except OSError as error:
            raise broken("the connection broke off") from error


def _send_pieces(stream: socket.socket, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        if piece:
            stream.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
    stream.sendall(b"0\r\n\r\n")


def _message(answer: Answer) -> str:
    """What a refusal says."""
    try:
        found = answer.json()
    except GasangError:
        found = None
    text = found.get("message") if isinstance(found, dict) else None
    return str(text) if text else f"it refused with status {answer.status}"
