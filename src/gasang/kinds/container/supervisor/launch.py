"""Starting a supervisor and talking to it, from Python. Nothing here waits unless it says so: `fileno` is for the caller's event loop.

The program runs from a sealed file in memory: a container's first process, which begins as a copy of the supervisor, can show the
container where its program lies, and nobody may be able to write there.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, StateError, TimedOutError
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.record import CONTROL_NAME, EXIT_NAME, START_NAME
from gasang.native import ctype_of

_CONFIG: Final = ctype_of(protocol.Config)
_REQUEST: Final = ctype_of(protocol.Request)
_STATUS: Final = ctype_of(protocol.Status)
_PEER: Final = ctypes.c_uint32 * 3
_FREE: Final = 64
"""Descriptors are moved from here on before they get their numbers, so that none is overwritten."""
_EXECUTABLE_FILE: Final = 0x10  # MFD_EXEC
_ANSWER_TIME: Final = 10.0
STATES: Final = {
    protocol.WAITING: "waiting",
    protocol.STOPPED: "created",
    protocol.RUNNING: "running",
    protocol.DRAINING: "ending",
    protocol.FINISHED: "exited",
}
REASONS: Final = {
    protocol.BY_KEYS: "keys",
    protocol.GONE: "gone",
    protocol.TOO_SLOW: "slow",
    protocol.AT_END: "end",
    protocol.BY_REQUEST: "request",
}


@dataclass(frozen=True)
class Settings:
    """How a process is to be supervised. `log` is the log file's name, empty for none; sizes are in bytes, times in seconds."""

    log: str = ""
    log_size: int = 0
    log_count: int = 1
    terminal: bool = False
    terminal_later: bool = False
    rows: int = 0
    columns: int = 0
    open_stdin: bool = False
    start_at_once: bool = False
    ephemeral: bool = False
    linger: float = 2.0
    oom_file: str = ""


@dataclass(frozen=True)
class Status:
    """What a supervisor tells. Times are nanoseconds since 1970, 0 for not yet; `code` is 128 + signal where a signal ended the process."""

    kind: int
    tag: int
    error: int
    state: str
    pid: int
    code: int
    signal: int
    oom: bool
    failed: tuple[int, int, int] | None
    """List, operation and error number, where the plan failed."""
    clients: int
    started: int
    finished: int
    value: int
    logged: int
    lost: int

    @property
    def reason(self) -> str:
        """Why a client was detached, for a packet of kind DETACHED."""
        return REASONS.get(self.code, "gone")


def read_status(raw: bytes, subject: str) -> Status:
    """A packet or a record, checked. Raises BadInputError."""
    if len(raw) != ctypes.sizeof(_STATUS):
        raise BadInputError(subject, f"{len(raw)} bytes where {ctypes.sizeof(_STATUS)} belong", "it was written by another version")
    made = _STATUS.from_buffer_copy(raw)
    if made.magic != protocol.MESSAGE_MAGIC or made.version != protocol.VERSION or made.state not in STATES:
        raise BadInputError(subject, "it is no status of a supervisor", "it was damaged, or written by another version")
    failed = (made.failed_list, made.failed_operation, made.failed_errno) if made.failed_errno else None
    return Status(
        made.kind, made.tag, made.error, STATES[made.state], made.pid, made.code, made.signal, bool(made.oom), failed,
        made.clients, made.started, made.finished, made.value, made.logged, made.lost,
    )  # fmt: skip


def read_exit(folder: Path) -> Status | None:
    """The record of the process's end, or None where there is none. Raises BadInputError for a damaged one."""
    return _read_record(folder / EXIT_NAME, protocol.EXIT_RECORD)


def read_start(folder: Path) -> Status | None:
    """The record of its start, or None where there is none. Raises BadInputError for a damaged one."""
    return _read_record(folder / START_NAME, protocol.START_RECORD)


def _read_record(path: Path, kind: int) -> Status | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInputError(f"record {path}", f"it cannot be read ({error.strerror})", "remove the container") from error
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInputError(f"record {path}", "it is no file", "remove the container")
        made = read_status(file.read(ctypes.sizeof(_STATUS) + 1), f"record {path}")
    if made.kind != kind:
        raise BadInputError(f"record {path}", "it is a record of something else", "remove the container")
    return made


def forget_records(folder: Path) -> None:
    """Remove what an earlier supervisor has left, before another is started in the folder."""
    for name in (EXIT_NAME, START_NAME, CONTROL_NAME):
        (folder / name).unlink(missing_ok=True)


@cache
def _program() -> int:
    """The supervisor's program as a sealed file in memory."""
    from gasang.kinds.container.supervisor.sources import sources
    from gasang.kinds.container.supervisor.main import supervise
    from gasang.native.program import program

    image = program(supervise, sources=sources())
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        made = os.memfd_create("gasang-supervisor", flags | _EXECUTABLE_FILE)
    except OSError:  # before Linux 6.3 there is no such flag, and every such file can be executed
        made = os.memfd_create("gasang-supervisor", flags)
    _write(made, image)
    os.fchmod(made, 0o500)
    fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    moved = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, _FREE)
    os.close(made)
    return moved


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _configuration(settings: Settings, plan: bytes, extra: int, terminal_given: bool) -> bytes:
    for text, size in ((settings.log, protocol.NAME_SIZE), (settings.oom_file, protocol.PATH_SIZE)):
        if len(os.fsencode(text)) >= size or "\0" in text:
            raise BadInputError(f"supervisor setting {text[:40]!r}", f"a text of at most {size - 1} bytes is needed")
    if "/" in settings.log or settings.log in (".", "..", EXIT_NAME, START_NAME, CONTROL_NAME):
        raise BadInputError(f"log file {settings.log}", "this name is none for a log", "take another, such as container-json.log")
    made = _CONFIG()
    made.magic, made.version = protocol.CONFIG_MAGIC, protocol.VERSION
    made.flags = (
        protocol.TERMINAL * (settings.terminal and not terminal_given)
        | protocol.TERMINAL_LATER * settings.terminal_later
        | protocol.TERMINAL_GIVEN * terminal_given
        | protocol.OPEN_STDIN * settings.open_stdin
        | protocol.LOG * bool(settings.log)
        | protocol.START_AT_ONCE * settings.start_at_once
        | protocol.EPHEMERAL * settings.ephemeral
    )
    made.plan_offset, made.plan_length = -(-ctypes.sizeof(_CONFIG) // 8) * 8, len(plan)
    made.log_size, made.log_count = settings.log_size, settings.log_count
    made.linger = round(settings.linger * 1000)
    made.rows, made.columns, made.extra = settings.rows, settings.columns, extra
    ctypes.memmove(ctypes.addressof(made) + _CONFIG.oom_path.offset, os.fsencode(settings.oom_file), len(os.fsencode(settings.oom_file)))
    ctypes.memmove(ctypes.addressof(made) + _CONFIG.log_name.offset, os.fsencode(settings.log), len(os.fsencode(settings.log)))
    return bytes(made).ljust(made.plan_offset, b"\0") + plan


class Supervisor:
    """A connection to a supervisor. Closing it leaves the supervisor as it is."""

    def __init__(self, connection: socket.socket, folder: Path, process: int | None = None) -> None:
        self._connection = connection
        self.folder = folder
        self.process = process
        """The supervisor's own process id, where this process has started it."""
        self._tag = 0
        self._news: deque[Status] = deque()

    # ------------------------------------------------------------------ making and finding

    @classmethod
    def launch(
        cls, settings: Settings, plan: bytes, folder: Path, *, terminal: int | None = None, descriptors: Sequence[int] = ()
    ) -> Supervisor:
        """Start a supervisor for a plan, its files in `folder`, which has none of an earlier one.

        `terminal` is the master of a terminal that the plan gives the process; `descriptors` are what the plan finds from FD_EXTRA on.
        Raises OutOfSpaceError where the host has no processes, descriptors or memory left.
        """
        with contextlib.ExitStack() as stack:
            try:
                return cls._launch(stack, settings, plan, folder, terminal, descriptors)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EADDRINUSE):
                    cause = "the folder is gone" if error.errno == errno.ENOENT else "another supervisor has been started there"
                    raise StateError(f"supervisor in {folder}", cause, "remove the container and create it anew") from error
                raise OutOfSpaceError(f"supervisor in {folder}", f"it cannot be started ({error.strerror})", "free what is used up") from error

    @classmethod
    def _launch(
        cls, stack: contextlib.ExitStack, settings: Settings, plan: bytes, folder: Path, terminal: int | None, descriptors: Sequence[int]
    ) -> Supervisor:
        assert protocol.FD_EXTRA + len(descriptors) <= _FREE

        def own(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        configuration = own(os.memfd_create("gasang-config", os.MFD_CLOEXEC))
        _write(configuration, _configuration(settings, plan, len(descriptors), terminal is not None))
        place = own(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(f"/proc/self/fd/{place}/{CONTROL_NAME}")
        listener.listen(16)
        listener.setblocking(False)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(theirs)
        try:
            wanted = {
                protocol.FD_CONTROL: listener.fileno(), protocol.FD_CONFIG: configuration, protocol.FD_FOLDER: place,
                protocol.FD_FIRST: theirs.fileno(),
                **({} if terminal is None else {protocol.FD_TERMINAL: terminal}),
                **{protocol.FD_EXTRA + index: descriptor for index, descriptor in enumerate(descriptors)},
            }  # fmt: skip
            moved = {number: own(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FREE)) for number, source in wanted.items()}
            actions: list[Any] = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in moved.items()]
            process = os.posix_spawn(f"/proc/self/fd/{_program()}", ["gasang-supervisor", folder.name], {}, file_actions=actions)
        except BaseException:
            ours.close()
            raise
        return cls(ours, folder, process)

    @classmethod
    def connect(cls, folder: Path) -> Supervisor:
        """The running supervisor of a folder.

        Raises NotFoundError where there is none (look at `read_exit`), StateError where it was killed: what it had started may still run.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{place}/{CONTROL_NAME}")
            finally:
                os.close(place)
        except OSError as error:
            connection.close()
            if error.errno == errno.ECONNREFUSED:
                raise StateError(f"supervisor in {folder}", "it was killed", "remove what is left of the container") from error
            raise NotFoundError(f"supervisor in {folder}", "none runs there", "start the container") from error
        _check_peer(connection, folder)
        return cls(connection, folder)

    def fileno(self) -> int:
        """Readable when there is news, or the supervisor's end."""
        return self._connection.fileno()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ requests

    def start(self) -> Status:
        """Let the process be made, or go on that has stopped in its plan. The answer's `failed` says what of the plan failed."""
        return self.request(protocol.START)

    def attach(
        self,
        stream: int | socket.socket,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        multiplexed: bool = False,
        patient: bool = True,
        ends_stdin: bool = False,
        held: bool = False,
        keys: bytes = b"",
    ) -> Status:
        """Hand over a stream: output goes there and input comes from there; the answer's `value` is the client's number.

        The supervisor has its own descriptor of it; close yours. `keys` is the sequence that detaches. `held` collects output until `release`.
        """
        if len(keys) > protocol.MOST_KEYS:
            raise BadInputError("detach keys", f"{len(keys)} of them, {protocol.MOST_KEYS} are the most", "give a shorter sequence")
        flags = (
            protocol.WANT_STDIN * stdin | protocol.WANT_STDOUT * stdout | protocol.WANT_STDERR * stderr | protocol.MULTIPLEXED * multiplexed
            | protocol.PATIENT * patient | protocol.ENDS_STDIN * ends_stdin | protocol.HELD * held
        )  # fmt: skip
        descriptor = stream if isinstance(stream, int) else stream.fileno()
        return self.request(protocol.ATTACH, flags=flags, keys=keys, descriptor=descriptor)

    def release(self, client: int) -> Status:
        """Let a held client have its output."""
        return self.request(protocol.RELEASE, client)

    def detach(self, client: int) -> Status:
        """Let go of a client once it has what was kept for it."""
        return self.request(protocol.DETACH, client)

    def resize(self, rows: int, columns: int) -> Status:
        """Set the terminal's size; before the start, the size it will have."""
        return self.request(protocol.RESIZE, rows, columns)

    def signal(self, number: int) -> Status:
        """Send the process a signal."""
        return self.request(protocol.SIGNAL, number)

    def status(self) -> Status:
        """How things stand."""
        return self.request(protocol.STATUS)

    def subscribe(self) -> Status:
        """From now on hear STARTED, EXITED and DETACHED."""
        return self.request(protocol.SUBSCRIBE)

    def close_stdin(self) -> Status:
        """End the process's input, after what is on its way."""
        return self.request(protocol.CLOSE_STDIN)

    def reopen_log(self) -> Status:
        """Open the log anew by its name."""
        return self.request(protocol.REOPEN_LOG)

    def leave(self) -> Status:
        """Have a supervisor end that has not started anything."""
        return self.request(protocol.LEAVE)

    def request(
        self, kind: int, first: int = 0, second: int = 0, *, flags: int = 0, keys: bytes = b"", descriptor: int | None = None
    ) -> Status:
        """Ask, and wait for the answer (a supervisor answers at once). Raises StateError for a refusal or where it has ended."""
        tag = self.send(kind, first, second, flags=flags, keys=keys, descriptor=descriptor)
        limit = time.monotonic() + _ANSWER_TIME
        while True:
            if not select.select([self._connection], [], [], max(0.0, limit - time.monotonic()))[0]:
                raise TimedOutError(self._subject, f"no answer within {_ANSWER_TIME:g} s", "look whether the host is overloaded")
            made = self._receive()
            if made is None:
                raise StateError(self._subject, "it has ended", "look at the container's exit code")
            if made.tag == tag:
                break
            self._news.append(made)
        if made.error:
            raise RequestRefused(self._subject, -made.error)
        return made

    def send(
        self, kind: int, first: int = 0, second: int = 0, *, flags: int = 0, keys: bytes = b"", descriptor: int | None = None
    ) -> int:
        """Ask without waiting; the tag that the answer will have. Raises StateError where the supervisor has ended."""
        self._tag = self._tag % 0xFFFF_FFFF + 1
        made = _REQUEST(protocol.MESSAGE_MAGIC, protocol.VERSION, kind, self._tag, flags, first, second, len(keys))
        ctypes.memmove(ctypes.addressof(made) + _REQUEST.keys.offset, keys, len(keys))
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            self._connection.sendmsg([bytes(made)], rights)
        except OSError as error:
            raise StateError(self._subject, f"it has ended ({error.strerror})", "look at the container's exit code") from error
        return self._tag

    # ------------------------------------------------------------------ news

    def news(self) -> Iterator[Status]:
        """What has come since the last time, without waiting; a status of kind 0 when the supervisor has ended, and then no more."""
        while self._news:
            yield self._news.popleft()
        while select.select([self._connection], [], [], 0)[0]:
            made = self._receive()
            if made is None:
                return
            yield made

    def wait(self, timeout: float | None = None) -> Status:
        """Wait for the process's end and give its record; subscribe first. Raises TimedOutError, and StateError where nothing is recorded."""
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._news:
                made = self._news.popleft()
                if made.kind == protocol.EXITED:
                    return made
            left = None if limit is None else max(0.0, limit - time.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                raise TimedOutError(self._subject, "the process still runs", "wait longer, or stop the container")
            heard = self._receive()
            if heard is not None:
                self._news.append(heard)
                continue
            recorded = read_exit(self.folder)
            if recorded is None:
                raise StateError(self._subject, "it has ended without a record: it was killed", "remove what is left of the container")
            return recorded

    def reap(self) -> None:
        """Forget the supervisor's process, which has ended; waits for that. Only its parent needs it."""
        if self.process is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.process, 0)
            self.process = None

    @property
    def _subject(self) -> str:
        return f"supervisor in {self.folder}"

    def _receive(self) -> Status | None:
        try:
            raw = self._connection.recv(ctypes.sizeof(_STATUS) + 1)
        except ConnectionResetError:
            return None
        return read_status(raw, self._subject) if raw else None


class RequestRefused(StateError):
    """A supervisor has refused a request: `number` is the error's."""

    def __init__(self, subject: str, number: int) -> None:
        super().__init__(subject, f"it refused ({os.strerror(number)})", "look at the container's state")
        self.number = number


def _check_peer(connection: socket.socket, folder: Path) -> None:
    """Refuse to talk to a socket that somebody else has put there."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ctypes.sizeof(_PEER))
    owner = _PEER.from_buffer_copy(raw)[1]
    if owner not in (0, os.geteuid()):
        connection.close()
        raise BadInputError(f"supervisor in {folder}", f"the socket there belongs to user {owner}", "remove the container")


__all__ = ["GasangError", "RequestRefused", "Settings", "Status", "Supervisor", "forget_records", "read_exit", "read_start", "read_status"]
