"""The docker command line against one engine: what it printed, how it ended, and sessions at a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from support.engines.engine import Engine

SECONDS = 60


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    command: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Its output, without the last line's end."""
        return self.out.decode().removesuffix("\n")

    @property
    def lines(self) -> list[str]:
        """The lines of its output."""
        return self.out.decode().splitlines()

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        return self.err.decode(errors="replace")


class Docker:
    """Calls `docker` (or Compose). Each call raises AssertionError if it ends with another code than expected."""

    def __init__(self, engine: Engine, folder: Path, **environment: str) -> None:
        self.engine = engine
        self.config = folder
        self.config.mkdir(parents=True, exist_ok=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOCKER_", "COMPOSE_")) and "proxy" not in name.lower()
        }
        self.environment = {
            **kept,
            "DOCKER_HOST": engine.host,
            "DOCKER_CONFIG": str(folder),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CLI_HINTS": "false",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            **environment,
        }
        self.program = (docker_program(),)
        self._opened: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, *words: str | Path, code: int | None = 0, typed: bytes | None = None, seconds: float = SECONDS, cwd: Path | None = None
    ) -> Done:
        """Run it with these words and this input (None: /dev/null) to its end; any exit code is taken if `code` is None."""
        command = (*self.program, *map(str, words))
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if typed is None else {"input": typed}
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=self.environment, cwd=cwd, check=False, **source)
        answer = Done(command, done.returncode, done.stdout, done.stderr)
        said = f"{answer.out[-2000:].decode(errors='replace')}\n{answer.said[-2000:]}"
        assert code is None or answer.code == code, f"{' '.join(command)}: exit code {answer.code}, expected {code}\n{said}"
        return answer

    def inspect(self, *words: str) -> Any:
        """The one object that `docker inspect WORDS` (or `docker KIND inspect` if KIND is the first of several words) shows."""
        kind = words[:-1] or ("container",)
        return json.loads(self(*kind, "inspect", words[-1]).out)[0]

    def format(self, name: str, template: str) -> str:
        """`docker inspect --format`."""
        return self("inspect", "--format", template, name).text

    def open(self, *words: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start it with pipes and return at once; `close` ends it if it still runs."""
        given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self._opened.append(subprocess.Popen((*self.program, *map(str, words)), env=self.environment, **given))
        return self._opened[-1]

    def close(self) -> None:
        """End all that `open` has started."""
        while self._opened:
            process = self._opened.pop()
            if process.poll() is None:
                process.kill()
            process.wait()
            for file in (process.stdin, process.stdout, process.stderr):
                if file is not None:
                    with contextlib.suppress(BrokenPipeError):
                        file.close()

    def terminal(self, *words: str | Path, size: tuple[int, int] = (24, 80)) -> Terminal:
        """Start it at a terminal of `size` rows and columns."""
        return Terminal((*self.program, *map(str, words)), self.environment, size)


class Terminal:
    """A program at a pseudo-terminal: type at it and wait for what it says."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], size: tuple[int, int]) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(*size)
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=_own,
        )
        os.close(theirs)
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal, and tell the program if it runs."""
        termios.tcsetwinsize(self._ours, (rows, columns))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def type(self, data: bytes) -> None:
        """Type at it."""
        os.write(self._ours, data)

    def expect(self, pattern: bytes, seconds: float = SECONDS) -> re.Match[bytes]:
        """Wait until it says what matches; all up to the end of the match is taken from `seen`."""
        limit = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            if not self._read(limit - time.monotonic()):
                raise AssertionError(f"never said {pattern!r}; it said {self.seen!r}")
        self.seen = self.seen[found.end() :]
        return found

    def end(self, seconds: float = SECONDS) -> int:
        """Wait for its end; the exit code. What it said last is in `seen`."""
        limit = time.monotonic() + seconds
        while self._read(limit - time.monotonic()):
            pass
        return self.process.wait(max(0.1, limit - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], max(0.0, seconds))[0]:
            return False
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.seen += chunk
        return bool(chunk)


def _own() -> None:
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, struct.pack("i", 0))


def docker_program() -> str:
    """The docker client: GASANG_DOCKER, or the first on PATH."""
    return os.environ.get("GASANG_DOCKER", "") or shutil.which("docker") or "docker"


def until(what: Callable[[], Any], seconds: float = 20, pause: float = 0.05) -> Any:
    """Wait until `what()` is true; its value. For state that only polling shows."""
    limit = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(pause)
    return value
