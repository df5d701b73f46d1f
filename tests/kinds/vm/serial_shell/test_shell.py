"""Commands typed at shells of this host, each at a terminal as one has it at a guest's serial console."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gasang.core.console import WindowSize
from gasang.core.errors import StateError, UnsupportedError, UsageError
from gasang.kinds.vm.agent.client import Wants
from gasang.kinds.vm.agent.running import Outcome
from gasang.kinds.vm.serial_shell import shell as serial_shell
from gasang.kinds.vm.serial_shell.script import Mark
from gasang.kinds.vm.serial_shell.shell import INTERRUPTED, NoShellError, SerialShell, TypedCommand, _Talk
from support.seats import Console, console

SHELLS = {
    "dash": ("dash", "-i"),
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "ash": ("busybox", "ash", "-i"),
    "ksh": ("ksh", "-i"),
    "zsh": ("zsh", "-f", "-i"),
}
HERE = [name for name, words in SHELLS.items() if shutil.which(words[0])]
PATIENCE = 20.0


@pytest.fixture(scope="module", params=HERE)
def seat(request: pytest.FixtureRequest) -> Iterator[Console]:
    with console(*SHELLS[request.param]) as made:
        yield made


def ran(seat: Console, *words: str, **more: object) -> tuple[Outcome, bytes]:
    """What becomes of a command, and what it says."""
    said = bytearray()
    running = SerialShell(seat.connect, "machine web").exec(words, patience=PATIENCE, **more)  # type: ignore[arg-type]
    try:
        return running.run(lambda stream, data: said.extend(data)), bytes(said)
    finally:
        running.close()


def test_output_and_exit_code(seat: Console) -> None:
    assert ran(seat, "sh", "-c", "echo out; echo err >&2; exit 7") == (Outcome(7, 0), b"out\nerr\n")
    assert ran(seat, "printf", "no end of a line") == (Outcome(0, 0), b"no end of a line")
    assert ran(seat, "true") == (Outcome(0, 0), b"")
    assert ran(seat, "sh", "-c", "kill -9 $$")[0] == Outcome(137, 9)


@pytest.mark.parametrize(
    "word", ["it's", '"$HOME" `id` !! \\n %s', "tab\there", "Ünicode ☃", "two\nlines\n", "", "*", "\x03\x1b[A\x7f", "~"]
)
def test_words_arrive_as_they_are(seat: Console, word: str) -> None:
    outcome, said = ran(seat, "sh", "-c", 'printf %s "$1" | od -An -v -tx1', "sh", word)
    assert (outcome.code, bytes.fromhex(said.decode())) == (0, word.encode())


def test_long_commands(seat: Console) -> None:
    word = "".join(chr(32 + number % 95) for number in range(2500))
    outcome, said = ran(seat, "printf", "%s", word)
    assert (outcome.code, said.decode()) == (0, word)


def test_directory_and_variables(seat: Console) -> None:
    outcome, said = ran(seat, "sh", "-c", 'pwd; echo "$A"', environment=["A=b 'c"], directory="/usr/../tmp")
    assert (outcome.code, said) == (0, b"/tmp\nb 'c\n")
    assert ran(seat, "true", directory="/not there")[0].code == 127
    assert ran(seat, "/not/there")[0].code == 127
    assert ran(seat, "/etc/passwd")[0].code == 126


def test_it_has_no_input_and_leaves_nothing(seat: Console) -> None:
    assert ran(seat, "wc", "-c")[1].strip() == b"0"
    assert ran(seat, "sh", "-c", "echo ${_gasang-unset}") == (Outcome(0, 0), b"unset\n")


def test_much_output(seat: Console) -> None:
    outcome, said = ran(seat, "seq", "30000")
    assert (outcome.code, said) == (0, b"".join(b"%d\n" % number for number in range(1, 30001)))


def test_a_terminal(seat: Console) -> None:
    said, (source, sink) = bytearray(), os.pipe()
    with os.fdopen(sink, "wb", buffering=0) as keys:
        shell = SerialShell(seat.connect, "machine web")
        script = 'test -t 0 && stty size; read -r line; echo "<$line>"'
        running = shell.exec(["sh", "-c", script], terminal=WindowSize(101, 33), streams=Wants(input=True), patience=PATIENCE)
        keys.write(b"typed\r")
        outcome = running.run(lambda stream, data: said.extend(data), source)
        running.close()
    os.close(source)
    assert (outcome.code, b"33 101" in said, b"<typed>" in said) == (0, True, True), bytes(said)


def interrupted(seat: Console, script: str, number: int) -> Outcome:
    """How a command ends that gets a signal when it has said something."""
    running = SerialShell(seat.connect, "machine web").exec(["sh", "-c", script], patience=PATIENCE)
    said: list[bytes] = []

    def hear(stream: int, data: bytes) -> None:
        said.append(data)
        if len(said) == 1:
            running.signal(number)

    try:
        return running.run(hear)
    finally:
        running.close()


def test_a_signal_is_typed(seat: Console) -> None:
    assert interrupted(seat, "trap 'exit 9' INT; echo on; while :; do sleep 0.1; done", 15) in (Outcome(9, 0), INTERRUPTED)
    assert interrupted(seat, "echo on; exec sleep 100", 2) == INTERRUPTED
    assert ran(seat, "echo", "on") == (Outcome(0, 0), b"on\n")


def test_an_end_that_is_lost_to_an_interrupt() -> None:
    """The terminal drops what it has not shown yet: here, all that the shell has said of the end."""
    ours, theirs = socket.socketpair()
    talk = _Talk(ours, "machine web", "gasang-1-")
    running = TypedCommand(talk, Mark("b", 7), ExitStack(), is_terminal=False)
    with ours, theirs:
        running.signal(2)
        assert theirs.recv(9) == b"\x03"
        theirs.sendall(b"half^C\r\nguest# ")
        assert running.run(lambda stream, data: None) == INTERRUPTED


def test_half_a_line_is_erased(seat: Console) -> None:
    with seat.connect() as other:
        other.sendall(b"rm -rf /nothing; echo ha\\lf ")
        time.sleep(0.3)  # nothing tells when a shell has read its terminal
    assert ran(seat, "echo", "whole") == (Outcome(0, 0), b"whole\n")
    assert b"\nhalf " not in seat.shown


def test_one_at_a_time() -> None:
    turn = threading.Lock()
    with console(*SHELLS["dash"]) as seat:
        shell = SerialShell(seat.connect, "machine web", turn)
        running = shell.exec(["sleep", "100"], patience=PATIENCE)
        with pytest.raises(NoShellError, match="another command runs"):
            shell.exec(["true"])
        running.hang_up()
        with pytest.raises(StateError, match="console is gone"):
            running.run(lambda stream, data: None)
        running.close()
        running.close()
        again = shell.exec(["true"], patience=PATIENCE)
        assert again.run(lambda stream, data: None).code == 0
        again.close()


def test_a_shell_that_can_start_nothing() -> None:
    with console(*SHELLS["dash"]) as seat:
        shell = SerialShell(seat.connect, "machine web")
        with seat.connect() as other:
            other.sendall(b"PATH=/nothing\r")
        running = shell.exec(["true"], patience=PATIENCE)
        assert (running.pid, running.outcome) == (0, Outcome(127, 0))
        assert running.run(lambda stream, data: None).code == 127
        running.close()


def test_what_a_console_cannot_do() -> None:
    shell = SerialShell(lambda: pytest.fail("nothing is typed"), "machine web")
    with pytest.raises(UnsupportedError, match="whose shell it is"):
        shell.exec(["id"], user="nobody")
    with pytest.raises(UnsupportedError, match="needs a terminal"):
        shell.exec(["cat"], streams=Wants(input=True))
    with pytest.raises(UsageError, match="zero byte"):
        shell.exec(["a\0b"])
    with pytest.raises(UsageError, match="too long"):
        shell.exec(["echo", "a" * 20000])
    with pytest.raises(UsageError, match="none of such a name"):
        shell.exec(["echo"], environment=["a-b=c"])


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (("sh", "-c", "while :; do printf 'web login: '; read -r name; done"), "asks for a login"),
        (("sh", "-c", "stty -echo; while :; do printf 'Password: '; read -r word; done"), "asks for a login"),
        (("sleep", "60"), "nothing answers"),
        (("sh", "-c", "stty -echo; read -r line; echo what is that\\?; sleep 60"), "no shell is at its serial console"),
        (("sh", "-c", "stty -echo; while :; do printf 'tool# '; read -r line; done"), "no shell that takes a command"),
    ],
)
def test_what_is_no_shell(program: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_shell, "ANSWER", 1.0)
    monkeypatch.setattr(serial_shell, "AGAIN", 0.5)
    begun = time.monotonic()
    with console(*program) as seat, pytest.raises(NoShellError, match=says):
        SerialShell(seat.connect, "machine web").exec(["true"], patience=2.0)
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("prompt", [b"", b"guest# "])
def test_a_guest_that_never_stops_talking(prompt: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the beginning, or as soon as anything but Enter is typed at its prompt."""
    monkeypatch.setattr(serial_shell, "ANSWER", 1.0)
    ours, theirs = socket.socketpair()

    def talk() -> None:
        try:
            if prompt:
                theirs.recv(100)
                theirs.sendall(prompt)
                theirs.recv(100)
            while True:
                theirs.sendall(b"\x1b[0m gasang- # $ e0; " * 1000)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(NoShellError):
        SerialShell(lambda: ours, "machine web").exec(["true"], patience=1.0)
    thread.join()


def test_a_machine_that_ends() -> None:
    with console(*SHELLS["dash"]) as seat:
        running = SerialShell(seat.connect, "machine web").exec(["sleep", "100"], patience=PATIENCE)
        os.killpg(seat.process.pid, 9)
        with pytest.raises(StateError, match="console is gone"):
            running.run(lambda stream, data: None)
        running.close()
