"""A person in front of a terminal: runs a script whose standard streams are a pseudo-terminal, types and reads."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_daemon import FakeDaemon

SECONDS = 20.0


class Person:
    """Types into and reads from a terminal in which `script` runs."""

    def __init__(self, script: str, environment: dict[str, str]) -> None:
        self.seen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-c", script], environment)

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.terminal)

    def is_raw(self) -> bool:
        return not self.settings()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)  # kernels differ in whether a change at this end tells the other

    def types(self, data: bytes) -> None:
        os.write(self.terminal, data)

    def sends(self, number: int) -> None:
        os.kill(self.pid, number)

    def reads_until(self, text: bytes) -> bytes:
        """All that was shown up to `text`; fails if it does not come or the script ends first."""
        end = time.monotonic() + SECONDS
        while text not in self.seen:
            if not select.select([self.terminal], [], [], max(0.0, end - time.monotonic()))[0]:
                pytest.fail(f"{text!r} did not come; seen: {self.seen!r}")
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                data = b""
            if not data:
                pytest.fail(f"the script ended before {text!r}; seen: {self.seen!r}")
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def has_ended(self, seconds: float) -> bool:
        """Whether the script closes its terminal within `seconds`; what it shows is kept."""
        while select.select([self.terminal], [], [], seconds)[0]:
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                return True
            if not data:
                return True
            self.seen += data
        return False

    def exit_code(self) -> int:
        """Read to the end and wait."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and select.select([self.terminal], [], [], SECONDS)[0]:
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def leaves(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture
def in_terminal() -> Iterator[Callable[..., Person]]:
    """Start a script in a terminal: ``in_terminal(script)``; it is ended with the test."""
    started: list[Person] = []

    def start(script: str, **environment: str) -> Person:
        path = os.pathsep.join(filter(None, sys.path))
        person = Person(script, {**os.environ, "PYTHONPATH": path, "TERM": "xterm", **environment})
        started.append(person)
        return person

    yield start
    for person in started:
        person.leaves()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that says what the test told it to, in a home of its own; nobody is logged in anywhere."""
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("GASANG_HOME", home)
        monkeypatch.setenv("DOCKER_CONFIG", home)
        made = FakeDaemon(Path(home) / "run" / "docker.sock")
        yield made
        made.close()
