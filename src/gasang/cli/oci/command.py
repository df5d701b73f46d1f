"""What a command of ``gasang oci`` is, and options that several have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gasang.cli.options import Argument, Option, Parsed, Syntax, plain_text, value
from gasang.core.errors import UsageError
from gasang.kinds.container.bundle import Bundles


class Command(NamedTuple):
    """A command: what it accepts, and what does it. `run` returns the exit code."""

    syntax: Syntax
    run: Callable[[Parsed, Bundles], int]


def whole_number(text: str, subject: str) -> int:
    """A number, 0 or more."""
    if not text.isdigit():
        raise UsageError(subject, f"{text!r} is no number", "write digits only")
    return int(text)


def path_of(text: str, subject: str) -> Path:
    """A path."""
    return Path(plain_text(text, subject))


ID = Argument("ID", "the container's name")
BUNDLE = value("bundle", "FOLDER", "the bundle: a folder with config.json (default: this one)", path_of, short="b", files=True)
CONSOLE_SOCKET = value("console-socket", "SOCKET", "a unix socket that is sent the terminal's other end", plain_text, files=True)
PID_FILE = value("pid-file", "FILE", "write the process id there", path_of, files=True)
PRESERVE_FDS: Option[int | None] = value("preserve-fds", "N", "hand N more descriptors over, from 3 on", whole_number)


def write_pid_file(path: Path | None, pid: int) -> None:
    """Write a process id as a whole or not at all; raise OSError if it cannot be written."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(str(pid))
    temporary.replace(path)
