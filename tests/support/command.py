"""The command a user types, in a process of its own, in a home of its own; and what it leaves behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from gasang.native.cache import default_directory

PROGRAM = "import sys; from gasang.cli.main import main; sys.exit(main())"
MARK = "GASANG_TEST_MARK"
ASIDE = ("kvm.json", "lock", "index.lock")
"""What is known of /dev/kvm, and files that are there to be locked, and empty."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: bytes
    err: str


@dataclass
class Home:
    """A folder for a user's files, another for temporary ones, and the settings in the environment."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.temporary.mkdir(exist_ok=True)

    @property
    def home(self) -> Path:
        """GASANG_HOME."""
        return self.root / "home"

    @property
    def temporary(self) -> Path:
        """TMPDIR."""
        return self.root / "temporary"

    def environment(self, mark: str) -> dict[str, str]:
        """Variables of a process in this home: nothing of the person who runs the tests, but the compiled processor."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("GASANG_", "XDG_"))}
        return {
            **own,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "GASANG_HOME": str(self.home),
            "GASANG_NATIVE_CACHE": str(default_directory()),
            "TMPDIR": str(self.temporary),
            "GASANG_PROGRESS": "none",
            "GASANG_AUTOSTART": "no",  # a command of these tests has left no process when it ends, so no daemon either
            "no_proxy": "127.0.0.1",
            **self.settings,
            MARK: mark,
        }

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """The command, going on; what is left of it at the end is killed."""
        mark = uuid4().hex
        command = [sys.executable, "-c", PROGRAM, *words]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(mark), cwd=self.root
        ) as process:
            try:
                yield process
                process.communicate(timeout=60)
            finally:
                process.kill()
            assert processes(mark) == []

    def run(self, *words: str, seconds: float = 60.0, limits: str = "") -> Done:
        """The command, ended by itself; it has left no process. `limits` are arguments of the shell's ulimit."""
        mark = uuid4().hex
        shell = ["sh", "-c", f'ulimit {limits}; exec "$@"', "sh"] if limits else []
        command = [*shell, sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=self.environment(mark), cwd=self.root, check=False
        )
        assert processes(mark) == []
        return Done(done.returncode, done.stdout, done.stderr.decode())

    def files(self) -> set[str]:
        """What lies in the home and among temporary files, locks and what is known of /dev/kvm aside."""
        found = (path for folder in (self.home, self.temporary) for path in folder.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.root)) for path in found if path.name not in ASIDE}

    def refused(self, *words: str, code: int, says: str, limits: str = "", leaves: set[str] | None = None) -> None:
        """The command fails with `code` and one sentence that matches `says`; no file comes or goes but those it `leaves`."""
        before = self.files()
        done = self.run(*words, limits=limits)
        check_sentence(done, code, says)
        assert self.files() == before | (leaves or set())


def check_sentence(done: Done, code: int, says: str) -> None:
    """A failure as a user may see one: the code, and one line that names the thing, the cause and the next step."""
    assert "Traceback" not in done.err
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert re.fullmatch(r"gasang: .+: .+; .+", lines[0]), done.err
    assert "a fault of gasang itself" not in done.err
    assert re.search(says, lines[0]), done.err
    assert (done.code, done.out) == (code, b""), done.err


def processes(mark: str, seconds: float = 20.0) -> list[str]:
    """Command lines of the processes that still run with `mark` in their environment; those about to end are given a moment."""
    end = time.monotonic() + seconds
    while (found := list(_marked(f"{MARK}={mark}".encode()))) and time.monotonic() < end:
        os.sched_yield()
    return found


def _marked(mark: bytes) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended meanwhile, or is another user's
