"""Commands that make containers and end them: create, start, run, state, kill, delete, list."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gasang.cli.oci.command import BUNDLE, CONSOLE_SOCKET, ID, PID_FILE, PRESERVE_FDS, Command, write_pid_file
from gasang.cli.oci.foreground import Terminal, relay, signals_passed_to
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.output import Column, render
from gasang.core.errors import NotFoundError, UsageError
from gasang.kinds.container.bundle import Bundles, Creation, Record, read_bundle
from gasang.kinds.container.container import Streams

NO_PIVOT = switch("no-pivot", "change the root with a move and chroot, not pivot_root")
NO_KEYRING = switch("no-new-keyring", "leave the session keyring as it is")
DETACH = switch("detach", "do not wait for its end", short="d")
KEEP = switch("keep", "do not delete it when it has ended")
NO_SUBREAPER = switch("no-subreaper", "accepted: no process is adopted here in any case")
ALL = switch("all", "send it to every process of the container", short="a")
FORCE = switch("force", "end it first if it runs; it need not exist", short="f")
QUIET = switch("quiet", "names only", short="q")
FORM = value("format", "FORMAT", "table or json", plain_text, short="f", choices=("table", "json"))
_MAKING: Final = (BUNDLE, CONSOLE_SOCKET, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE_FDS)


def preserved(count: int | None) -> tuple[int, ...]:
    """Descriptors from 3 on that are to be handed over. Raises UsageError if one of them is not open."""
    numbers = tuple(range(3, 3 + (count or 0)))
    for number in numbers:
        try:
            os.fstat(number)
        except OSError as error:
            raise UsageError("--preserve-fds", f"descriptor {number} is not open", "ask for fewer") from error
    return numbers


@contextmanager
def console(path: str | None) -> Iterator[int]:
    """A connection to a console socket; -1 where none is named. Raises NotFoundError if nobody listens there."""
    if path is None:
        yield -1
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            raise NotFoundError(f"console socket {path}", (error.strerror or "").lower(), "listen there first") from error
        yield connection.fileno()


def tell(warnings: list[str]) -> None:
    """Say what was passed over."""
    for warning in warnings:
        print(f"gasang: {warning}", file=sys.stderr)


def make(parsed: Parsed, bundles: Bundles, console_socket: int) -> Record:
    """Create the container that the words describe."""
    streams = Streams(preserved=preserved(parsed.get(PRESERVE_FDS)), console_socket=console_socket)
    creation = Creation(streams, not parsed.get(NO_PIVOT), not parsed.get(NO_KEYRING))
    record, warnings = bundles.create(parsed.arguments[0], bundle_of(parsed), creation)
    tell(warnings)
    try:
        write_pid_file(parsed.get(PID_FILE), record.pid)
    except OSError:
        bundles.delete(record.identity, force=True)
        raise
    return record


def bundle_of(parsed: Parsed) -> Path:
    """The bundle's folder."""
    return (parsed.get(BUNDLE) or Path()).resolve()


def create(parsed: Parsed, bundles: Bundles) -> int:
    """Make a container; its program waits."""
    with console(parsed.get(CONSOLE_SOCKET)) as connection:
        make(parsed, bundles, connection)
    return 0


def start(parsed: Parsed, bundles: Bundles) -> int:
    """Let its program start."""
    tell(bundles.start(parsed.arguments[0]))
    return 0


def run(parsed: Parsed, bundles: Bundles) -> int:
    """Create and start, and unless detached wait and delete."""
    identity = parsed.arguments[0]
    _, config = read_bundle(bundle_of(parsed))
    wants_terminal = config.process is not None and config.process.terminal
    if parsed.get(DETACH) or parsed.get(CONSOLE_SOCKET) is not None or not wants_terminal:
        with console(parsed.get(CONSOLE_SOCKET)) as connection:
            record = make(parsed, bundles, connection)
        return _started(parsed, bundles, record, None)
    terminal = Terminal()
    try:
        record = make(parsed, bundles, terminal.socket)
        return _started(parsed, bundles, record, terminal)
    finally:
        terminal.close()
        if identity in bundles.identities() and not parsed.get(KEEP):
            bundles.delete(identity, force=True)


def _started(parsed: Parsed, bundles: Bundles, record: Record, terminal: Terminal | None) -> int:
    """Start a container that was made, and see it through."""
    with bundles.process(record) as pidfd:
        master = terminal.receive() if terminal is not None else -1
        with signals_passed_to(pidfd, master) if not parsed.get(DETACH) else console(None):
            tell(bundles.start(record.identity))
            if parsed.get(DETACH):
                return 0
            if terminal is not None:
                relay(master, pidfd)
            code = wait_for(pidfd)
    if not parsed.get(KEEP):
        tell(bundles.delete(record.identity, force=True))
    return code


def wait_for(pidfd: int) -> int:
    """The exit code of a child of ours."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert result is not None, "without WNOHANG there is always an answer"
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def state(parsed: Parsed, bundles: Bundles) -> int:
    """Print the state as JSON."""
    print(json.dumps(bundles.state(parsed.arguments[0]), indent=2))
    return 0


def signal_number(text: str) -> int:
    """A signal by number or name, with SIG or without. Raises UsageError for what is none."""
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name.startswith(("SIGRTMIN+", "SIGRTMAX-")) and name[9:].isdigit():
        number = signal.SIGRTMIN + int(name[9:]) if name[6] == "I" else signal.SIGRTMAX - int(name[9:])
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    if name in signal.Signals.__members__:
        return int(signal.Signals[name])
    raise UsageError(f"signal {text!r}", "there is no such signal", "kill -l lists them")


def kill(parsed: Parsed, bundles: Bundles) -> int:
    """Send a signal."""
    word = parsed.arguments[1] if len(parsed.arguments) > 1 else "TERM"
    bundles.kill(parsed.arguments[0], signal_number(word), everyone=parsed.get(ALL))
    return 0


def delete(parsed: Parsed, bundles: Bundles) -> int:
    """Forget a container."""
    tell(bundles.delete(parsed.arguments[0], force=parsed.get(FORCE)))
    return 0


COLUMNS: Final = (
    Column("id", "ID"),
    Column("pid", "PID"),
    Column("status", "STATUS"),
    Column("bundle", "BUNDLE"),
    Column("created", "CREATED"),
    Column("owner", "OWNER"),
)


def list_(parsed: Parsed, bundles: Bundles) -> int:
    """Print all containers."""
    if parsed.get(QUIET):
        print("".join(f"{identity}\n" for identity in bundles.identities()), end="")
        return 0
    rows = [bundles.state(identity) for identity in bundles.identities()]
    if parsed.get(FORM) == "json":
        print(json.dumps(rows))
    else:
        print(render(parsed.get(FORM), COLUMNS, rows), end="")
    return 0


def _example(words: str, meaning: str) -> tuple[Example, ...]:
    return (Example(f"gasang oci {words}", meaning),)


COMMANDS: Final = {
    "create": Command(
        Syntax("Make a container; its program waits.", _MAKING, (ID,), examples=_example("create -b . web", "from here")), create
    ),
    "start": Command(Syntax("Let a created container's program start.", (), (ID,), examples=_example("start web", "start it")), start),
    "run": Command(
        Syntax(
            "Create and start a container, and wait for its end.",
            (*_MAKING, DETACH, KEEP, NO_SUBREAPER),
            (ID,),
            examples=_example("run web", "from the bundle here"),
        ),
        run,
    ),
    "state": Command(Syntax("Print a container's state as JSON.", (), (ID,), examples=_example("state web", "its state")), state),
    "kill": Command(
        Syntax(
            "Send a signal to a container's first process.",
            (ALL,),
            (ID, Argument("SIGNAL", "its name or number; TERM if left out", required=False)),
            examples=_example("kill web KILL", "end it"),
        ),
        kill,
    ),
    "delete": Command(Syntax("Forget a stopped container.", (FORCE,), (ID,), examples=_example("delete web", "forget it")), delete),
    "list": Command(Syntax("List containers.", (FORM, QUIET), (), examples=_example("list", "all of them")), list_),
}
