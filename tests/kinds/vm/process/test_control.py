"""The control socket: whatever is sent, the answer is an answer, and the next request is answered as well."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import GasangError, StateError, TimedOutError, UsageError
from gasang.kinds.vm.process import packets
from gasang.kinds.vm.process.client import ask
from gasang.kinds.vm.process.control import CONNECTIONS, ControlServer, Handed


def refuse(words: dict[str, Any], handed: list[Handed]) -> object:
    raise StateError("machine", "it has ended", "start it")


def greet(words: dict[str, Any], handed: list[Handed]) -> object:
    for each in handed:
        assert isinstance(each, socket.socket)
        each.sendall(b"hello")
    return len(handed)


def break_down(words: dict[str, Any], handed: list[Handed]) -> object:
    raise OSError(28, "No space left on device")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    held = threading.Event()
    verbs = {
        "echo": lambda words, _: words, "refuse": refuse, "greet": greet, "break": break_down,
        "count": lambda _, handed: len(handed),
        "hold": lambda words, _: held.wait(20),
    }  # fmt: skip
    before = threading.active_count()
    made = ControlServer(tmp_path, verbs)
    yield tmp_path
    held.set()
    made.close()
    assert threading.active_count() <= before
    assert not (tmp_path / packets.NAME).exists()


def connected(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    connection.connect(str(folder / packets.NAME))
    return connection


def test_a_request_is_answered(server: Path) -> None:
    assert ask(server, "echo", {"word": "ä"}) == {"word": "ä"}


def test_only_its_user_can_connect(server: Path) -> None:
    assert (server / packets.NAME).stat().st_mode & 0o777 == 0o600


def test_a_folder_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    made = ControlServer(folder, {"echo": lambda words, _: words})
    assert ask(folder, "echo") == {}
    made.close()


def test_sockets_come_along(server: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert ask(server, "greet", files=[theirs.fileno()]) == 1
        assert ours.recv(16) == b"hello"


def send_file(server: Path, descriptor: int, verb: str) -> object:
    with connected(server) as connection:
        rights = array.array("i", [descriptor])
        connection.sendmsg([packets.request(verb, {})], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        return json.loads(connection.recv(packets.MOST))


def test_files_come_along_and_are_closed(server: Path) -> None:
    read, write = os.pipe()
    assert send_file(server, write, "count") == {"done": 1}
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)


def test_a_forked_process_lets_go_of_what_came_with_requests_under_way(tmp_path: Path) -> None:
    came, goes_on = threading.Event(), threading.Event()

    def hold(words: dict[str, Any], handed: list[Handed]) -> None:
        came.set()
        goes_on.wait(20)

    made = ControlServer(tmp_path, {"hold": hold})
    (read, write), (ours, theirs) = os.pipe(), os.pipe()
    asking = threading.Thread(target=send_file, args=(tmp_path, write, "hold"))
    asking.start()
    assert came.wait(20)
    with made.receiving:
        twin = os.fork()
        if twin == 0:
            made.abandon()
            os.close(write)
            os.close(theirs)
            os.read(ours, 1)  # the parent's end
            os._exit(0)
    goes_on.set()
    asking.join()
    os.close(write)
    assert os.read(read, 1) == b""  # while the twin lives
    made.close()
    os.close(theirs)
    assert os.waitpid(twin, 0)[1] == 0
    os.close(ours)
    os.close(read)


def test_folders_do_not_come_along(server: Path) -> None:
    place = os.open(server, os.O_RDONLY | os.O_DIRECTORY)
    assert send_file(server, place, "count") == {"done": 0}
    os.close(place)


def test_a_refusal_is_the_error_it_was(server: Path) -> None:
    with pytest.raises(StateError, match="it has ended"):
        ask(server, "refuse")


def test_an_error_of_the_host_is_told(server: Path) -> None:
    with pytest.raises(GasangError, match="No space left"):
        ask(server, "break")


def test_a_verb_that_there_is_not_is_refused_by_name(server: Path) -> None:
    with pytest.raises(UsageError, match=r"'dance'.*use one of echo, refuse"):
        ask(server, "dance")


def test_a_packet_that_is_too_long_is_refused(server: Path) -> None:
    with connected(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * packets.MOST)
        connection.sendall(b"x" * (packets.MOST + 1))
        assert json.loads(connection.recv(packets.MOST))["failed"] == "UsageError"
        connection.sendall(packets.request("echo", {}))
        assert json.loads(connection.recv(packets.MOST)) == {"done": {}}


def test_too_many_connections_are_refused_and_the_others_go_on(server: Path) -> None:
    open_ = [connected(server) for _ in range(CONNECTIONS)]
    for connection in open_:  # each is served
        connection.sendall(packets.request("echo", {}))
        assert connection.recv(packets.MOST) == b'{"done": {}}'
    with pytest.raises(StateError):
        ask(server, "echo")
    for connection in open_:
        connection.close()


def test_one_that_takes_long_holds_up_nobody(server: Path) -> None:
    with connected(server) as connection:
        connection.sendall(packets.request("hold", {}))
        assert ask(server, "echo") == {}


def test_who_is_not_answered_in_time_hears_so(server: Path) -> None:
    with pytest.raises(TimedOutError, match="no answer to 'hold'"):
        ask(server, "hold", patience=0.05)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not run"):
        ask(tmp_path, "status")


def test_a_socket_that_a_killed_process_left(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.bind(str(tmp_path / packets.NAME))
    left.close()
    with pytest.raises(StateError, match="does not run"):
        ask(tmp_path, "status")
    ControlServer(tmp_path, {"echo": lambda words, _: words}).close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packet=st.one_of(st.binary(min_size=1, max_size=300), st.sampled_from([b'{"do": 1}', b'{"do": "echo", "do": []}', b"[" * 30_000])))
def test_whatever_is_sent_is_answered(server: Path, packet: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(packet)
        assert {"done", "failed"} & json.loads(connection.recv(packets.MOST)).keys()
        connection.sendall(packets.request("echo", {"still": "there"}))
        assert json.loads(connection.recv(packets.MOST)) == {"done": {"still": "there"}}


def test_one_that_is_early_is_found_when_it_is_published(tmp_path: Path) -> None:
    first = ControlServer(tmp_path, {"who": lambda *_: "first"})
    second = ControlServer(tmp_path, {"who": lambda *_: "second"}, early=True)
    try:
        assert ask(tmp_path, "who") == "first"
        second.publish()
        assert ask(tmp_path, "who") == "second"
        assert [path.name for path in tmp_path.iterdir()] == [packets.NAME]
    finally:
        first.close()
        second.close()
