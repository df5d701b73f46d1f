from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.api.answer import Answer
from gasang.api.client import Client, failure, path_of
from gasang.core import errors
from support.fake_daemon import FakeDaemon


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with tempfile.TemporaryDirectory() as folder:
        made = FakeDaemon(Path(folder) / "docker.sock")
        made.address = f"{folder}/docker.sock"  # type: ignore[attr-defined]
        yield made
        made.close()


@pytest.fixture
def client(daemon: FakeDaemon) -> Client:
    return Client(daemon.address)  # type: ignore[attr-defined]


def answer_of(data: bytes, **more: bool) -> Answer:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data)
    try:
        return Answer(ours, **more)
    except errors.GasangError:
        ours.close()
        raise


def test_a_request_says_what_is_asked(daemon: FakeDaemon, client: Client) -> None:
    daemon.tells("POST /containers/a b/start", {"ok": 1})
    query = {"t": 5, "name": None, "names": ["x", "y&"]}
    assert client.call("POST", path_of("containers", "a b", "start"), query, {"k": "v"}) == {"ok": 1}
    (asked,) = daemon.asked
    assert asked.query == {"t": ["5"], "names": ["x", "y&"]}
    assert asked.document == {"k": "v"}
    assert asked.headers["content-type"] == "application/json"


def test_a_body_in_pieces_is_chunked(daemon: FakeDaemon, client: Client) -> None:
    daemon.tells("PUT /x")
    assert client.call("PUT", "/x", body=iter([b"ab", b"", b"c" * 1000])) is None
    assert daemon.asked[0].body == b"ab" + b"c" * 1000


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, errors.UsageError, 2),
        (401, errors.PermissionDeniedError, 5),
        (403, errors.PermissionDeniedError, 5),
        (404, errors.NotFoundError, 3),
        (409, errors.StateError, 4),
        (422, errors.BadInputError, 1),
        (500, errors.GasangError, 1),
        (501, errors.UnsupportedError, 6),
        (504, errors.TimedOutError, 8),
        (507, errors.OutOfSpaceError, 7),
    ],
)
def test_a_refusal_is_the_error_its_status_stands_for(
    daemon: FakeDaemon, client: Client, status: int, kind: type[errors.GasangError], code: int
) -> None:
    daemon.tells("GET /x", {"message": "machine web: it sleeps: deeply; wake it; or not"}, status=status)
    with pytest.raises(kind) as caught:
        client.call("GET", "/x")
    assert type(caught.value) is kind
    assert str(caught.value) == "machine web: it sleeps: deeply; wake it; or not"
    assert (caught.value.subject, caught.value.exit_code) == ("machine web", code)


def test_a_refusal_without_words_still_has_a_sentence(daemon: FakeDaemon, client: Client) -> None:
    daemon.tells("GET /x", b"<html>", status=500)
    with pytest.raises(errors.GasangError, match="daemon: it refused with status 500"):
        client.call("GET", "/x")
    assert str(failure(404, "gone")) == "daemon: gone"


@given(st.text())
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    made = path_of("containers", name, "json")
    assert made.count("/") == 3
    assert "?" not in made
    assert "#" not in made


def test_an_answer_to_head_has_no_body(daemon: FakeDaemon, client: Client) -> None:
    daemon.tells("HEAD /x", b"12345", headers={"X-Fact": "yes"})
    with client.open("HEAD", "/x") as answer:
        assert answer.headers["x-fact"] == "yes"
        assert answer.whole() == b""


def test_lines_come_one_by_one_however_they_are_cut(daemon: FakeDaemon, client: Client) -> None:
    daemon.tells("POST /x", chunks=(b'{"a":', b'1}\r\n\r\n{"a":2}\n{"a"', b":3}"))
    assert [line["a"] for line in client.lines("POST", "/x")] == [1, 2, 3]


def test_an_error_among_the_lines_is_raised_with_its_status(daemon: FakeDaemon, client: Client) -> None:
    failed = b'{"errorDetail":{"message":"image x: it is not there","status":404},"error":"e"}\n'
    daemon.tells("POST /x", chunks=(b'{"status":"Pulling"}\n', failed))
    lines = client.lines("POST", "/x")
    assert next(lines) == {"status": "Pulling"}
    with pytest.raises(errors.NotFoundError, match="image x: it is not there"):
        next(lines)


def test_a_connection_that_is_taken_over_loses_no_byte(daemon: FakeDaemon, client: Client) -> None:
    def talk(stream: socket.socket) -> None:
        stream.sendall(b"early")
        stream.sendall(b"<" + stream.recv(100) + b">")

    daemon.tells("POST /x", talk=talk)
    with client.upgrade("/x", {"stream": 1}) as answer:
        stream, early = answer.take_over()
        stream.sendall(b"typed")
        data = early + b"".join(iter(lambda: stream.recv(100), b""))
    assert data == b"early<typed>"
    assert daemon.asked[0].headers["upgrade"] == "tcp"


def test_a_daemon_is_started_once_where_none_runs(tmp_path: Path) -> None:
    started: list[FakeDaemon] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"

        def start() -> None:
            started.append(FakeDaemon(path))
            started[0].tells("GET /x", 7)

        client = Client(str(path), start)
        assert not client.running()
        assert [client.call("GET", "/x"), client.call("GET", "/x"), client.running(), len(started)] == [7, 7, True, 1]
        started[0].close()


def test_without_a_way_to_start_one_there_is_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(errors.NoDaemonError, match="none runs") as caught:
        Client(str(tmp_path / "s")).call("GET", "/x")
    assert caught.value.exit_code == 9
    with pytest.raises(errors.NoDaemonError, match="does not listen"):
        Client(str(tmp_path / "s"), lambda: None).call("GET", "/x")


def test_interim_answers_are_passed_over() -> None:
    with answer_of(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n") as answer:
        assert (answer.status, answer.whole()) == (204, b"")


def test_a_body_may_end_with_the_connection() -> None:
    with answer_of(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it") as answer:
        assert answer.whole() == b"all of it"


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_chunks_are_what_was_sent(pieces: list[bytes]) -> None:
    sent = b"".join(b"%x;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    with answer_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n") as answer:
        assert answer.whole() == b"".join(pieces)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", errors.NoDaemonError),
        (b"HTTP/1.1 200", errors.NoDaemonError),
        (b"SSH-2.0-x\r\n\r\n", errors.BadInputError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9x\r\n\r\n", errors.BadInputError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", errors.NoDaemonError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", errors.BadInputError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXY\r\n", errors.BadInputError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", errors.NoDaemonError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{,}", errors.BadInputError),
        (b"x" * 100_000, errors.BadInputError),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(data: bytes, kind: type[errors.GasangError]) -> None:
    with pytest.raises(kind), answer_of(data) as answer:
        answer.json()


@given(st.binary(max_size=400))
def test_whatever_comes_is_an_answer_or_an_error_of_ours(data: bytes) -> None:
    with suppress(errors.GasangError), answer_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data) as answer:
        assert all(isinstance(line, dict) for line in answer.lines())
