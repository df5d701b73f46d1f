"""A person at a terminal before a container: keys, sizes, leaving, interrupts and signals."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support.container_answers import FRAMED, RAW, echo, ready_to_run, script
from support.fake_daemon import FakeDaemon, Told, frame

if TYPE_CHECKING:
    from conftest import Person


def raw_echo(stream: socket.socket) -> None:
    """A terminal's other end: says what it hears until it hears q."""
    stream.sendall(b"ready\r\n")
    while (data := stream.recv(1000)) and data != b"q":
        stream.sendall(b"<" + data + b">")


def ready_for_a_terminal(daemon: FakeDaemon) -> None:
    ready_to_run(daemon, raw_echo, code=5)
    daemon.tells("POST /containers/c1/resize")
    daemon.answers["POST /containers/c1/attach"] = Told(talk=raw_echo, headers=RAW)


def test_a_terminal_has_every_key_and_its_size(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_for_a_terminal(daemon)
    person = in_terminal(script("run", "-it", "busybox"))
    person.reads_until(b"ready")
    person.types(b"\x03\x10x")
    person.reads_until(b"<\x03\x10x>")
    person.resize(91, 33)
    person.types(b"again")
    person.reads_until(b"<again>")
    person.types(b"q")
    assert person.exit_code() == 5
    assert not person.is_raw()
    assert {"h": ["33"], "w": ["91"]} in [one.query for one in daemon.of("POST /containers/c1/resize")]
    assert daemon.of("POST /containers/create")[0].document["Tty"] is True


@pytest.mark.parametrize("keys", [b"\x1d", b"\x10\x11"])
def test_a_person_leaves_a_machine_running(daemon: FakeDaemon, in_terminal: Callable[..., Person], keys: bytes) -> None:
    ready_for_a_terminal(daemon)
    person = in_terminal(script("run", "-it", "busybox"))
    person.reads_until(b"ready")
    person.types(keys)
    person.reads_until(b"c1 goes on; gasang attach c1 comes back to it")
    assert person.exit_code() == 0
    assert daemon.of("POST /containers/c1/stop") == []


def test_keys_of_ones_own_leave_a_machine_running(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_for_a_terminal(daemon)
    person = in_terminal(script("run", "-it", "--detach-keys", "ctrl-a,d", "busybox"))
    person.reads_until(b"ready")
    person.types(b"\x1d\x01x")
    person.reads_until(b"<\x1d\x01x>")
    person.types(b"\x01d")
    person.reads_until(b"goes on")
    assert person.exit_code() == 0
    assert daemon.of("POST /containers/c1/attach")[0].query["detachKeys"] == ["ctrl-a,d"]


def greet_and_echo(stream: socket.socket) -> None:
    stream.sendall(frame(1, b"ready\n"))
    echo(stream)


def test_a_second_interrupt_stops_the_machine(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_to_run(daemon, echo)
    daemon.tells("POST /containers/c1/stop", status=204)
    daemon.answers["POST /containers/c1/attach"] = Told(talk=greet_and_echo, headers=FRAMED)
    person = in_terminal(script("run", "-i", "busybox"))
    person.reads_until(b"ready")
    person.types(b"\x03")
    person.reads_until(b"press Ctrl-C again to stop it")
    assert daemon.of("POST /containers/c1/stop") == []
    person.types(b"\x03")
    person.reads_until(b"stopping the machine")
    assert person.exit_code() == 130
    assert len(daemon.of("POST /containers/c1/stop")) == 1


def wait_for_signal(daemon: FakeDaemon) -> Callable[[socket.socket], None]:
    """A command that ends when a signal has been sent to it."""

    def talk(stream: socket.socket) -> None:
        stream.sendall(frame(1, b"ready\n"))
        while not daemon.of("POST /containers/c1/kill"):
            threading.Event().wait(0.01)

    return talk


def test_signals_are_passed_on_where_that_is_asked_for(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_to_run(daemon, echo, code=143)
    daemon.answers["POST /containers/c1/attach"] = Told(talk=wait_for_signal(daemon), headers=FRAMED)
    daemon.tells("POST /containers/c1/kill", status=204)
    person = in_terminal(script("run", "--sig-proxy", "busybox"))
    person.reads_until(b"ready")
    person.sends(signal.SIGTERM)
    assert person.exit_code() == 143
    assert daemon.of("POST /containers/c1/kill")[0].query == {"signal": ["15"]}
    assert daemon.of("POST /containers/c1/stop") == []
