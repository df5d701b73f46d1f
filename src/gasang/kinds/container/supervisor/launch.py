"""Starting a supervisor and talking to it, from Python. Nothing here waits unless it says so: `fileno` is for the caller's event loop."""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, NotFoundError, OutOfSpaceError, StateError, TimedOutError
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.executable import FREE, program_descriptor, write_whole
from gasang.kinds.container.supervisor.protocol import CONTROL_NAME, EXIT_NAME, START_NAME
from gasang.kinds.container.supervisor.settings import Settings, configuration
from gasang.kinds.container.supervisor.status import STATUS_SIZE, Status, read_exit, read_status
from gasang.native import ctype_of

_REQUEST: Final = ctype_of(protocol.Request)
_PEER: Final = ctypes.c_uint32 * 3
_ANSWER_TIME: Final = 10.0


def forget_records(folder: Path) -> None:
    """Remove what an earlier supervisor has left, before another is started in the folder."""
    for name in (EXIT_NAME, START_NAME, CONTROL_NAME):
        (folder / name).unlink(missing_ok=True)


class Supervisor:
    """A connection to a supervisor. Closing it leaves the supervisor as it is."""

    def __init__(self, connection: socket.socket, folder: Path, process: int | None = None) -> None:
        self._connection = connection
        self.folder = folder
        self.process = process
        """The supervisor's own process id, where this process has started it."""
        self.ended = False
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
                raise OutOfSpaceError(
                    f"supervisor in {folder}", f"it cannot be started ({error.strerror})", "free what is used up"
                ) from error

    @classmethod
    def _launch(
        cls, stack: contextlib.ExitStack, settings: Settings, plan: bytes, folder: Path, terminal: int | None, descriptors: Sequence[int]
    ) -> Supervisor:
        assert protocol.FD_EXTRA + len(descriptors) <= FREE

        def own(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        config = own(os.memfd_create("gasang-config", os.MFD_CLOEXEC))
        write_whole(config, configuration(settings, plan, len(descriptors), terminal is not None))
        place = own(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(f"/proc/self/fd/{place}/{CONTROL_NAME}")
        listener.listen(16)
        listener.setblocking(False)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(theirs)
        try:
            wanted = {
                protocol.FD_CONTROL: listener.fileno(), protocol.FD_CONFIG: config, protocol.FD_FOLDER: place,
                protocol.FD_FIRST: theirs.fileno(),
                **({} if terminal is None else {protocol.FD_TERMINAL: terminal}),
                **{protocol.FD_EXTRA + index: descriptor for index, descriptor in enumerate(descriptors)},
            }  # fmt: skip
            moved = {number: own(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, FREE)) for number, source in wanted.items()}
            actions: list[Any] = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in moved.items()]
            process = os.posix_spawn(f"/proc/self/fd/{program_descriptor()}", ["gasang-supervisor", folder.name], {}, file_actions=actions)
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

    def go_on(self) -> Status:
        """Let the process go on from one stop in its plan; the `stop` of a status says which it is at."""
        return self.request(protocol.GO_ON)

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
        early: bytes = b"",
    ) -> Status:
        """Hand over a stream: output goes there and input comes from there; the answer's `value` is the client's number.

        The supervisor has its own descriptor of it; close yours. `keys` is the sequence that detaches; `held` collects output until
        `release`; `early` is input that came before the rest of the stream's.
        """
        if len(keys) > protocol.MOST_KEYS:
            raise BadInputError("detach keys", f"{len(keys)} of them, {protocol.MOST_KEYS} are the most", "give a shorter sequence")
        flags = (
            protocol.WANT_STDIN * stdin | protocol.WANT_STDOUT * stdout | protocol.WANT_STDERR * stderr | protocol.MULTIPLEXED * multiplexed
            | protocol.PATIENT * patient | protocol.ENDS_STDIN * ends_stdin | protocol.HELD * held
            | protocol.EARLY * (stdin and bool(early))
        )  # fmt: skip
        descriptor = stream if isinstance(stream, int) else stream.fileno()
        attached = self.request(protocol.ATTACH, flags=flags, keys=keys, descriptor=descriptor)
        if flags & protocol.EARLY:
            self._feed(attached.value, early)
        return attached

    def _feed(self, client: int, early: bytes) -> None:
        file = os.memfd_create("gasang-early", os.MFD_CLOEXEC)
        try:
            write_whole(file, early)
            os.lseek(file, 0, os.SEEK_SET)
            self.request(protocol.FEED, client, descriptor=file)
        finally:
            os.close(file)

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
            if not self._readable(limit - time.monotonic()):
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

    def send(self, kind: int, first: int = 0, second: int = 0, *, flags: int = 0, keys: bytes = b"", descriptor: int | None = None) -> int:
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
        """What has come since the last time, without waiting. `ended` says afterwards that the supervisor has: no more will come."""
        while self._news:
            yield self._news.popleft()
        while not self.ended and self._readable(0):
            made = self._receive()
            if made is None:
                return
            yield made

    def wait(self, timeout: float | None = None) -> Status:
        """Wait for the process's end and give its record; subscribe first. Raises TimedOutError; StateError where nothing is recorded."""
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._news:
                made = self._news.popleft()
                if made.kind == protocol.EXITED:
                    return made
            if not self._readable(None if limit is None else limit - time.monotonic()):
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

    def _readable(self, seconds: float | None) -> bool:
        """Wait at most so long for a packet or the end; select(2) could not, with more than a thousand descriptors."""
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        return bool(waiting.poll(None if seconds is None else max(0.0, seconds * 1000)))

    def _receive(self) -> Status | None:
        try:
            raw = self._connection.recv(STATUS_SIZE + 1)
        except ConnectionResetError:
            raw = b""
        self.ended = not raw
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
