from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gasang.cli.console import StreamConsole

if TYPE_CHECKING:
    from conftest import Person

MACHINE = """
import sys, threading
from gasang.cli.console import StreamConsole
over = threading.Event()
def echo(data):
    console.write(b"<" + data.replace(b"\\r", b"CR") + b">" if data else b"<end>")
    if data in {ends!r}:
        over.set()
with StreamConsole(raw={raw}, reads_input={reads_input}) as console:
    console.on_resize(lambda size: console.write(b"[%dx%d]" % size))
    console.on_quit(over.set)
    console.on_input(echo)
    console.write(b"booted")
    over.wait()
print("left:", console.left, flush=True)
sys.exit(console.leave_code)
"""


def machine(raw: bool, reads_input: bool = True, ends: tuple[bytes, ...] = (b"q",)) -> str:
    return MACHINE.format(raw=raw, reads_input=reads_input, ends=ends)


def test_keys_go_to_the_guest_and_the_leave_key_does_not(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(machine(raw=True))
    person.reads_until(b"booted")
    assert person.is_raw()
    person.types(b"\x03")
    person.reads_until(b"<\x03>")
    person.types(b"ls\r\x1dnot this")
    shown = person.reads_until(b"left: Leave.KEY")
    assert b"<lsCR>" in shown
    assert b"not" not in shown
    assert b"\x1b[?25h" in shown
    assert person.exit_code() == 0
    assert not person.is_raw()


def test_the_guest_hears_of_the_window(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(machine(raw=True))
    person.reads_until(b"booted")
    person.resize(90, 30)
    person.reads_until(b"[90x30]")
    person.resize(70, 20)
    person.reads_until(b"[70x20]")
    person.types(b"q")
    person.reads_until(b"left: None")
    assert person.exit_code() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_machine_and_restores_the_terminal(number: int, code: int, in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(machine(raw=True))
    person.reads_until(b"booted")
    person.sends(number)
    person.reads_until(b"left: Leave.SIGNAL")
    assert person.exit_code() == code
    assert not person.is_raw()


def test_the_first_interrupt_only_tells_and_the_second_stops(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(machine(raw=False))
    person.reads_until(b"booted")
    person.types(b"\x03")
    person.reads_until(b"the machine goes on; press Ctrl-C again to stop it")
    person.types(b"\n")
    person.reads_until(b"<\n>".replace(b"\n", b"\r\n"))
    person.types(b"\x03")
    person.reads_until(b"left: Leave.INTERRUPT")
    assert person.exit_code() == 130


def test_a_third_interrupt_does_not_wait_for_the_machine(in_terminal: Callable[..., Person]) -> None:
    script = machine(raw=False).replace("console.on_quit(over.set)", "console.on_quit(lambda: console.write(b'stopping'))")
    person = in_terminal(script)
    person.reads_until(b"booted")
    person.types(b"\x03")
    person.reads_until(b"again")
    person.types(b"\x03")
    person.reads_until(b"stopping")
    for _ in range(20):  # one that arrives just before the main thread begins to wait is not seen by it
        person.types(b"\x03")
        if person.has_ended(0.2):
            break
    assert person.exit_code() != 0
    assert b"KeyboardInterrupt" in person.seen


def piped(script: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=False, timeout=30, env=environment)


def test_piped_input_ends_with_one_empty_read() -> None:
    answer = piped(machine(raw=False, ends=(b"",)), b"hello")
    assert answer.stdout.replace(b"booted", b"") == b"<hello><end>left: None\n"
    assert answer.returncode == 0


def test_without_input_the_guests_input_is_at_its_end() -> None:
    answer = piped(machine(raw=False, reads_input=False, ends=(b"",)), b"hello")
    assert answer.stdout == b"<end>bootedleft: None\n"


def test_an_output_that_nobody_reads_ends_the_machine() -> None:
    script = machine(raw=False, reads_input=False).replace('console.write(b"booted")', "[console.write(b'x' * 65536) for _ in range(99)]")
    script = script.replace("flush=True", "file=sys.stderr")
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"left: Leave.NOBODY_READS" in process.stderr.read()
        assert process.wait(20) == 141


def test_all_is_written_even_where_writes_do_not_block() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    content = os.urandom(1 << 20)
    console = StreamConsole(raw=False, reads_input=False, descriptors=(0, write, write))
    writer = threading.Thread(target=lambda: (console.write(content), os.close(write)))
    writer.start()
    with os.fdopen(read, "rb") as file:
        assert file.read() == content
    writer.join()
    assert console.left is None


def test_leaving_before_anyone_listens_is_not_lost() -> None:
    read, write = os.pipe()
    os.close(read)
    called: list[bool] = []
    with StreamConsole(raw=False, reads_input=False, descriptors=(0, write, write)) as console:
        console.write(b"x")
        console.on_quit(lambda: called.append(True))
    os.close(write)
    assert called == [True]
    assert console.leave_code == 141


def test_the_console_puts_signal_handlers_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StreamConsole(raw=False, reads_input=False) as console:
        console.on_quit(lambda: None)
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
