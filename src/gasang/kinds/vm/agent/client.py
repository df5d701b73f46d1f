"""The host's side of the guest agent.

    agent = Agent.connect(folder / "guest.sock", patience=60)     # waits until the guest has booted so far
    with agent.exec(["sh", "-c", "cat; exit 3"], streams=Wants(input=True)) as running:
        outcome = running.run(lambda stream, data: ..., source=descriptor)
    agent.copy_in("/tmp", read_end_of_a_tar_stream)

An agent object holds no connection: each call makes its own, so calls may be made from any thread, and one made before a snapshot works
after the restore. Whatever the guest says is checked (wire.py); what fails is a GasangError.
"""

from __future__ import annotations

import os
import secrets
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, Self

from gasang.core.console import WindowSize
from gasang.core.errors import BadInputError, OutOfSpaceError, UsageError
from gasang.kinds.vm.agent import errors, protocol
from gasang.kinds.vm.agent.dialing import Dial, dial
from gasang.kinds.vm.agent.running import STDERR, STDOUT, Outcome, Running
from gasang.kinds.vm.agent.wire import Said, Wire, packed

ENVIRONMENT: Final = ("LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
"""What a command has besides what it is given; HOME is its user's."""
GRACE: Final = 10.0
"""Seconds a guest's processes have to end by themselves."""
_PATIENCE: Final = 30.0
"""Seconds for an answer, and for a guest to take what it is sent."""
REACH: Final = 5.0
"""Seconds for one that was there before: after a restore its sockets need a moment."""
_EXEC: Final = struct.Struct("<IHHII")
_HELLO: Final = struct.Struct("<IIiI")
_HEALTH: Final = struct.Struct("<QQ3QQQQQQII")
_TIME: Final = struct.Struct("<Q")
_BLOCKS: Final = struct.Struct("<Q")
_SIGNAL: Final = struct.Struct("<I")
_IDENTITY: Final = struct.Struct("<Q32sII64s")
_END: Final = struct.Struct("<iiii")
_KEPT: Final = 4096
_PACK_ROOT: Final = """\
place=/run/gasang-$$
mkdir $place && mount --bind / $place || exit 1
trap 'umount -l $place; rmdir $place' EXIT
trap 'exit 1' HUP PIPE TERM
tar -c -f - -C $place .
"""
"""Bound elsewhere, the disk is seen without what is mounted over it."""
MOST_OUTPUT: Final = 64 << 20
"""Bytes of a command's output that `Agent.run` keeps."""
_LOAD_UNIT: Final = 65536
_MOST_NANOSECONDS: Final = (1 << 63) - 1


class Wants(NamedTuple):
    """Which of a command's streams are wanted; the others are /dev/null."""

    input: bool = False
    output: bool = True
    errors: bool = True


class Health(NamedTuple):
    """How a guest is, by its own account. Times in seconds, memory in bytes; `loads` are averages over 1, 5 and 15 minutes."""

    uptime: float
    time: float
    loads: tuple[float, float, float]
    memory: int
    free: int
    available: int
    swap: int
    swap_free: int
    processes: int
    sessions: int
    """Connections to the agent, this one among them."""


class Completed(NamedTuple):
    """A command that has ended, with what it wrote."""

    outcome: Outcome
    output: bytes
    errors: bytes


class Agent:
    """The agent of one guest. `pid` is its process there."""

    def __init__(self, reach: Dial, subject: str = "guest") -> None:
        """`reach` makes connections; `connect` and `at` are for machines."""
        self.subject = subject
        self._reach = reach
        self.pid = 0

    @classmethod
    def connect(cls, path: Path, patience: float = 60.0) -> Self:
        """The agent of the machine whose sockets' `guest.sock` is `path`, once it answers: a guest that boots has `patience` seconds.

        Raises NotFoundError where no machine listens there, NoAgentError where no agent has answered, BadInputError for an answer of no
        agent's.
        """
        agent = cls.at(path, f"guest of {path.parent.name}")
        agent.hello(patience)
        return agent

    @classmethod
    def at(cls, path: Path, subject: str) -> Self:
        """The agent of the machine whose socket is `path`, which is not asked yet; errors are about `subject`."""
        return cls(partial(dial, path, subject), subject)

    def hello(self, patience: float = REACH) -> None:
        """Have it say that it is there. Raises as `connect` does."""
        version, _, self.pid, _ = _HELLO.unpack(self._sized(self._ask(protocol.HELLO, patience=patience), protocol.HELLO_SIZE))
        if version != protocol.VERSION:
            raise errors.odd(self.subject, f"version {version}, this build speaks {protocol.VERSION}")

    def health(self) -> Health:
        """How the guest is."""
        fields = _HEALTH.unpack(self._sized(self._ask(protocol.HEALTH), protocol.HEALTH_SIZE))
        uptime, now, one, five, fifteen, *rest = fields
        return Health(uptime / 1e9, now / 1e9, (one / _LOAD_UNIT, five / _LOAD_UNIT, fifteen / _LOAD_UNIT), *rest)

    def set_time(self, nanoseconds: int | None = None) -> None:
        """Set the guest's clock, to nanoseconds since 1970 or to the host's time."""
        now = time.time_ns() if nanoseconds is None else nanoseconds
        if not 0 <= now <= _MOST_NANOSECONDS:
            raise UsageError(f"time {now}", "no clock shows it", "give nanoseconds since 1970")
        self._ask(protocol.SET_TIME, _TIME.pack(now), what="the clock cannot be set")

    def set_name(self, name: str) -> None:
        """Set the guest's host name, until it boots again."""
        self._ask(protocol.SET_NAME, self._name(name), what="the host name cannot be set")

    def new_identity(self, name: str = "", network: Sequence[bytes] = ()) -> None:
        """Tell a restored or forked guest who it is now: the time of day, fresh randomness, and a host name where there is one.

        And about its network, as `tell_network` does, over the same connection: a guest that was just forked does all of it at once.
        """
        text = self._name(name) if name else b""
        content = _IDENTITY.pack(time.time_ns(), secrets.token_bytes(protocol.SEED_SIZE), len(text), 0, text)
        self._tell([packed(protocol.IDENTITY, content)], "its identity cannot be changed", network)

    def tell_network(self, batches: Sequence[bytes]) -> None:
        """Have the guest's kernel carry out batches of messages about its network (host/rtnetlink.py), one after the other.

        Raises GasangError for one that it refuses of the last batch; what it refuses of those before is nothing.
        """
        self._tell([], "", batches)

    def _tell(self, first: list[bytes], what: str, network: Sequence[bytes]) -> None:
        asked = [*first, *(packed(protocol.NETWORK, batch) for batch in network)]
        if not asked:
            return
        with self._wire(b"".join(asked), REACH) as wire:
            said = [wire.receive() for _ in asked]
        if first:
            self._check(said[0], what)
        if network:
            self._check(said[-1], "its network cannot be set up")

    def grow(self, path: str, blocks: int) -> None:
        """Have the ext4 file system mounted at `path` be `blocks` of its blocks, which its disk has. Raises GasangError where it cannot."""
        content = _BLOCKS.pack(blocks) + os.fsencode(path) + b"\0"
        if "\0" in path or len(content) > 8 + protocol.MOST_PATH:
            raise UsageError(f"path {path[:80]!r}", "it is too long, or has a zero byte", "name the folder that it is mounted at")
        self._ask(protocol.GROW, content, what=f"the file system at {path} does not grow")

    def shutdown(self, grace: float = GRACE, number: int = signal.SIGTERM) -> None:
        """Have the guest end: that signal to its processes, SIGKILL after `grace` seconds, its disk written back, power off.

        Returns when that has begun; the machine's end tells the rest.
        """
        milliseconds = int(max(0.0, min(grace * 1000, protocol.MOST_GRACE)))
        content = b"" if number == signal.SIGTERM else _SIGNAL.pack(number)
        self._ask(protocol.SHUTDOWN, content, value=milliseconds, what="it cannot be switched off")

    def exec(
        self,
        arguments: Sequence[str],
        *,
        environment: Sequence[str] = (),
        directory: str = "",
        user: str = "",
        terminal: WindowSize | None = None,
        streams: Wants = Wants(),  # noqa: B008  (it cannot change)
        patience: float = REACH,
    ) -> Running:
        """Start a command in the guest; `user` as docker's --user, `environment` NAME=VALUE, `terminal` the size of one it shall have.

        A guest that boots has `patience` seconds.

        Raises CommandNotFoundError (exit code 127), CommandRefusedError (126), UsageError for words that no process can be given, and as
        `connect` does.
        """
        flags = _flags(terminal, streams)
        return self._start(_Command(tuple(arguments), _merged(environment), directory, user, flags, terminal), patience)

    def run(
        self, arguments: Sequence[str], given: bytes = b"", *, environment: Sequence[str] = (), user: str = "", tool: bool = False
    ) -> Completed:
        """Run a command to its end: what it wrote, up to MOST_OUTPUT, stays here.

        With `tool` it is the agent's own, the initramfs's busybox, under the name of the first word ("stat"), whatever the guest's root
        holds. Raises as `exec` and Running.run do, OutOfSpaceError where it writes more.
        """
        wanted = _flags(None, Wants(input=True)) | (protocol.TOOL if tool else 0)
        command = _Command(tuple(arguments), _merged(environment), "", user, wanted, None)
        with self._start(command) as running:
            return _completed(running, given, " ".join(arguments))

    def copy_in(self, directory: str, source: int | bytes) -> None:
        """Unpack a tar stream, from a descriptor or bytes, in a directory of the guest. Raises BadInputError where tar fails."""
        with self._tool(("tar", "-x", "-p", "-f", "-", "-C", directory), Wants(input=True)) as running:
            told = bytearray()
            outcome = running.run(lambda stream, data: told.extend(data[: _KEPT - len(told)]), source)
        self._check_tar(outcome, told, f"directory {directory}")

    def copy_out(self, path: str, sink: Callable[[bytes], object]) -> None:
        """Give `sink` a tar stream of a file or folder of the guest, named by its last part; with "/." behind it of what is in the folder.

        Raises BadInputError if tar fails.
        """
        whole = PurePosixPath("/", path)
        place, name = (path, ".") if path.endswith("/.") else (str(whole.parent), whole.name or ".")
        self._pack(("tar", "-c", "-f", "-", "-C", place, "--", name), sink, f"path {path}")

    def copy_root(self, sink: Callable[[bytes], object]) -> None:
        """Give `sink` a tar stream of all that is on the guest's root disk, and nothing of what is mounted there. Raises as `copy_out`."""
        self._pack(("sh", "-c", _PACK_ROOT), sink, "root disk")

    def _pack(self, words: tuple[str, ...], sink: Callable[[bytes], object], what: str) -> None:
        told = bytearray()

        def take(stream: int, data: bytes) -> None:
            if stream == STDOUT:
                sink(data)
            else:
                told.extend(data[: _KEPT - len(told)])

        with self._tool(words, Wants()) as running:
            outcome = running.run(take)
        self._check_tar(outcome, told, what)

    def _tool(self, words: tuple[str, ...], streams: Wants) -> Running:
        return self._start(_Command(words, ENVIRONMENT, "", "", _flags(None, streams) | protocol.TOOL, None))

    def _check_tar(self, outcome: Outcome, told: bytearray, what: str) -> None:
        if outcome.code:
            lines = bytes(told).decode("utf-8", "replace").strip().splitlines() or [f"tar ended with {outcome.code}"]
            cause = "".join(sign if sign.isprintable() else "?" for sign in lines[0][:200])
            raise BadInputError(f"{self.subject}, {what}", cause, "check that it is there, and that the disk has room")

    def _start(self, command: _Command, patience: float = REACH) -> Running:
        first = packed(protocol.EXEC, command.packed())
        with ExitStack() as cleanup:
            wire = Wire(self._reach(first, patience), self.subject, _PATIENCE)
            cleanup.callback(wire.close)
            said = wire.receive()
            if said.kind == protocol.ENDED:
                _, _, stage, number = _END.unpack(said.content)
                raise errors.not_started(command.arguments[0], command.user, command.directory, stage, number)
            if said.kind != protocol.STARTED or said.value <= 0:
                raise errors.odd(self.subject, f"a message of kind {said.kind} instead of a command's start")
            cleanup.pop_all()
        return Running(wire, said.value)

    def _ask(self, kind: int, content: bytes = b"", value: int = 0, *, what: str = "", patience: float = REACH) -> Said:
        with self._wire(packed(kind, content, value), patience) as wire:
            return self._check(wire.receive(), what)

    def _check(self, said: Said, what: str) -> Said:
        """An answer. Raises GasangError for what is none, or a refusal: `what` is not possible then."""
        if said.kind != protocol.ANSWER or said.value > 0:
            raise errors.odd(self.subject, f"a message of kind {said.kind} instead of an answer")
        if said.value < 0:
            raise errors.refused(self.subject, what or "it refuses", -said.value)
        return said

    @contextmanager
    def _wire(self, first: bytes, patience: float) -> Iterator[Wire]:
        wire = Wire(self._reach(first, patience), self.subject, _PATIENCE)
        try:
            yield wire
        finally:
            wire.close()

    def _sized(self, said: Said, size: int) -> bytes:
        if len(said.content) != size:
            raise errors.odd(self.subject, f"an answer of {len(said.content)} bytes instead of {size}")
        return said.content

    def _name(self, name: str) -> bytes:
        text = name.encode("utf-8", "surrogateescape")
        if not 1 <= len(text) <= protocol.MOST_NAME or not name.isprintable():
            raise UsageError(f"host name {name!r}", f"it is empty, longer than {protocol.MOST_NAME}, or no name", "give another")
        return text


class _Command(NamedTuple):
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str
    user: str
    flags: int
    terminal: WindowSize | None

    def packed(self) -> bytes:
        """The content of an EXEC. Raises UsageError for what no process can be given."""
        if not self.arguments:
            raise UsageError("command", "it has no words", "name a program")
        words = (self.directory, self.user, *self.arguments, *self.environment)
        for word in words:
            if "\0" in word:
                raise UsageError(f"word {word!r}", "it holds a zero byte, which no argument can", "leave it out")
        rows, columns = (self.terminal.rows, self.terminal.columns) if self.terminal is not None else (0, 0)
        head = _EXEC.pack(self.flags, rows & 0xFFFF, columns & 0xFFFF, len(self.arguments), len(self.environment))
        content = head + b"".join(os.fsencode(word) + b"\0" for word in words)
        if len(content) > protocol.MOST_EXEC or len(words) - 2 > protocol.MOST_WORDS:
            hint = f"use fewer than {protocol.MOST_WORDS} words and {protocol.MOST_EXEC >> 10} KiB, or a file"
            raise UsageError(f"command {self.arguments[0]!r}", "its arguments and environment are too long", hint)
        return content


def _merged(environment: Sequence[str]) -> tuple[str, ...]:
    """What a command has, each variable once: the last said is meant."""
    found = {}
    for word in (*ENVIRONMENT, *environment):
        name, is_set, _ = word.partition("=")
        if not name or not is_set:
            raise UsageError(f"environment variable {word!r}", "it has no name or no value", "write NAME=VALUE")
        found[name] = word
    return tuple(found.values())


def _flags(terminal: WindowSize | None, streams: Wants) -> int:
    if terminal is not None:
        return protocol.TERMINAL
    return (
        (protocol.WANT_INPUT if streams.input else 0)
        | (protocol.WANT_OUTPUT if streams.output else 0)
        | (protocol.WANT_ERRORS if streams.errors else 0)
    )


def _completed(running: Running, given: bytes, command: str) -> Completed:
    kept = {STDOUT: bytearray(), STDERR: bytearray()}

    def take(stream: int, data: bytes) -> None:
        kept[stream] += data
        if sum(map(len, kept.values())) > MOST_OUTPUT:
            cause = f"it writes more than {MOST_OUTPUT >> 20} MiB"
            raise OutOfSpaceError(f"output of {command[:60]!r}", cause, "have it written elsewhere, or take it as it comes (Agent.exec)")

    outcome = running.run(take, given)
    return Completed(outcome, bytes(kept[STDOUT]), bytes(kept[STDERR]))
