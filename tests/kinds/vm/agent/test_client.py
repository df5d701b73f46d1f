"""The client before guests that lie, break off, or are not there: one sentence each time, and never a hang."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.console import WindowSize
from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, StateError, TimedOutError, UsageError
from gasang.kinds.vm.agent import client as client_module
from gasang.kinds.vm.agent.client import Agent, Wants
from gasang.kinds.vm.agent.errors import CommandNotFoundError, CommandRefusedError, NoAgentError
from gasang.kinds.vm.agent.protocol import ANSWER, CREDIT, ENDED, ERRORS, MESSAGES, OUTPUT, STARTED, WINDOW
from gasang.kinds.vm.agent.wire import packed

END = struct.Struct("<iiii")
ENDS_WELL = packed(ENDED, END.pack(0, 0, 0, 0))
RUNS = packed(STARTED, value=7)


def liar(said: bytes) -> Agent:
    """A client whose guest says this, whatever it is asked, and hangs up."""

    def reach(first: bytes, patience: float) -> socket.socket:
        here, there = socket.socketpair()
        there.sendall(said)
        there.shutdown(socket.SHUT_WR)
        hearing = threading.Thread(target=_swallow, args=(there,), daemon=True)
        hearing.start()
        return here

    return Agent(reach)


def _swallow(connection: socket.socket) -> None:
    with connection:
        try:
            while connection.recv(65536):
                pass
        except OSError:
            return


DOINGS: list[Callable[[Agent], object]] = [
    Agent.hello,
    Agent.health,
    Agent.set_time,
    Agent.shutdown,
    lambda agent: agent.set_name("box"),
    lambda agent: agent.new_identity("box"),
    lambda agent: agent.run(["true"], b"input"),
    lambda agent: agent.copy_in("/", b"tar"),
    lambda agent: agent.copy_out("/etc", lambda data: None),
]
ANYTHING = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda message, content, value: packed(message.kind, content, value),
        st.sampled_from(MESSAGES),
        st.binary(max_size=100),
        st.integers(-(1 << 31), (1 << 31) - 1),
    ),
    st.sampled_from([RUNS, ENDS_WELL, packed(OUTPUT, b"x"), packed(ERRORS, b"y"), packed(CREDIT, value=5), packed(ANSWER)]),
)


@given(st.sampled_from(DOINGS), st.lists(ANYTHING, max_size=6))
def test_whatever_a_guest_says_is_an_answer_or_an_error(doing: Callable[[Agent], object], said: list[bytes]) -> None:
    told = ""
    try:
        doing(liar(b"".join(said)))
    except GasangError as error:
        told = str(error)
    assert len(told.splitlines()) <= 1


@pytest.mark.parametrize(
    ("said", "error", "says"),
    [
        (b"", StateError, "has ended the connection"),
        (RUNS + packed(OUTPUT, b"x"), StateError, "has ended the connection"),
        (packed(ANSWER), BadInputError, "instead of a command's start"),
        (packed(STARTED, value=-1), BadInputError, "instead of a command's start"),
        (RUNS + RUNS, BadInputError, "while a command runs"),
        (RUNS + packed(CREDIT, value=WINDOW + 1), BadInputError, "kind 15"),
        (RUNS + packed(CREDIT, value=-1), BadInputError, "kind 15"),
        (RUNS + packed(ENDED, END.pack(256, 0, 0, 0)), BadInputError, "exit code 256"),
        (RUNS + ENDS_WELL + packed(OUTPUT, b"x"), BadInputError, "more behind a command's end"),
        (packed(ENDED, END.pack(125, 0, 5, 2)), CommandNotFoundError, "no such program"),
        (packed(ENDED, END.pack(125, 0, 5, 13)), CommandRefusedError, "Permission denied"),
        (packed(ENDED, END.pack(125, 0, 4, 2)), CommandNotFoundError, "no directory '/nowhere'"),
        (packed(ENDED, END.pack(125, 0, 3, 2)), CommandNotFoundError, "no user or group 'nobody'"),
        (packed(ENDED, END.pack(125, 0, 77, 99999)), CommandRefusedError, "cannot be started"),
    ],
)
def test_how_a_command_can_fail(said: bytes, error: type[GasangError], says: str) -> None:
    with pytest.raises(error, match=says), liar(said).exec(["true"], user="nobody", directory="/nowhere") as running:
        running.run(lambda stream, data: None)


def test_a_signal_is_not_for_one_that_has_ended() -> None:
    with liar(RUNS + ENDS_WELL).exec(["true"], terminal=WindowSize(80, 24)) as running:
        assert running.run(lambda stream, data: None) == (0, 0)
        running.signal(15)
        running.resize(WindowSize(1, 1))
        with pytest.raises(UsageError, match="signal 65"):
            running.signal(65)


@pytest.mark.parametrize(
    "words",
    [
        {"arguments": []},
        {"arguments": ["a\0b"]},
        {"arguments": ["x" * (128 << 10)]},
        {"arguments": ["x"] * 4097},
        {"arguments": ["x"], "environment": ["nothing"]},
        {"arguments": ["x"], "environment": ["=1"]},
        {"arguments": ["x"], "user": "a\0"},
    ],
)
def test_words_that_no_process_can_be_given(words: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError):
        liar(b"").exec(**words)  # type: ignore[arg-type]


def test_names_and_times_that_cannot_be() -> None:
    agent = liar(packed(ANSWER))
    for name in ("", "x" * 65, "a\nb"):
        with pytest.raises(UsageError):
            agent.set_name(name)
    with pytest.raises(UsageError):
        agent.set_time(-1)


def test_a_guest_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PATIENCE", 0.05)
    here, there = socket.socketpair()
    with there, pytest.raises(TimedOutError, match="has not answered"):
        Agent(lambda first, patience: here).health()


def test_a_guest_that_writes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_OUTPUT", 1000)
    with pytest.raises(OutOfSpaceError, match="it writes more than"):
        liar(RUNS + packed(OUTPUT, bytes(600)) + packed(ERRORS, bytes(600)) + ENDS_WELL).run(["yes"])


def test_a_command_is_left() -> None:
    here, there = socket.socketpair()
    there.sendall(RUNS)
    with there, Agent(lambda first, patience: here).exec(["sleep"]) as running:
        timer = threading.Timer(0.1, running.hang_up)
        timer.start()
        with pytest.raises(StateError, match="has ended the connection"):
            running.run(lambda stream, data: None)
        timer.join()
        running.hang_up()


def test_later_variables_are_meant() -> None:
    heard: list[bytes] = []

    def reach(first: bytes, patience: float) -> socket.socket:
        heard.append(first)
        return liar(RUNS + ENDS_WELL)._reach(first, patience)

    Agent(reach).run(["true"], environment=["PATH=/bin", "A=1", "A=2"])
    assert b"PATH=/bin\0A=2\0" in heard[0]
    assert heard[0].count(b"PATH=") == 1


class Machine:
    """A machine's socket whose guest does something with each connection, in turn; the last for ever."""

    def __init__(self, path: Path, *doings: bytes | None) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(path))
        self._listener.listen(8)
        self._doings = list(doings)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                doing = self._doings.pop(0) if len(self._doings) > 1 else self._doings[0]
                connection.recv(4096)
                if doing is not None:
                    connection.sendall(doing)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


HELLO = packed(ANSWER, struct.pack("<IIiI", 1, 1, 33, 1))


def test_a_guest_that_boots_is_asked_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "guest.sock", None, None, b"OK 1\n" + HELLO)
    try:
        assert Agent.connect(tmp_path / "guest.sock", patience=20).pid == 33
    finally:
        machine.close()


@pytest.mark.parametrize(
    ("doing", "error", "says"),
    [
        (None, NoAgentError, "serial console still works"),
        (b"NO\n", BadInputError, "no machine's socket"),
        (b"OK " + b"1" * 64, BadInputError, "without its mark"),
        (b"OK 1\n" + packed(ANSWER), BadInputError, "0 bytes instead of 16"),
        (b"OK 1\n" + packed(ANSWER, struct.pack("<IIiI", 2, 1, 33, 1)), BadInputError, "version 2"),
        (b"OK 1\n" + packed(ANSWER, value=-1), GasangError, "Operation not permitted"),
    ],
)
def test_who_is_no_agent(doing: bytes | None, error: type[GasangError], says: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "guest.sock", doing)
    try:
        with pytest.raises(error, match=says):
            Agent.connect(tmp_path / "guest.sock", patience=0.1)
    finally:
        machine.close()


def test_no_machine(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no machine listens"):
        Agent.connect(tmp_path / "guest.sock", patience=5)


def test_wants_are_flags() -> None:
    assert client_module._flags(None, Wants(input=True, output=False, errors=False)) == 1
    assert client_module._flags(WindowSize(1, 1), Wants()) == 8
