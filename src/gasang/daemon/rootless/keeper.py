"""The keeper of a user's namespaces: a process of a few KiB that outlives the daemon, so that the next one finds what runs.

Who it is stands in a file of the run-time folder: its number, and what tells it from a later process of the same number.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gasang import host
from gasang.core.errors import GasangError, OutOfSpaceError
from gasang.daemon.rootless import program
from gasang.host.durable import boot_id
from gasang.host.processes import start_of
from gasang.kinds.container.supervisor.executable import FREE, sealed_program
from gasang.native import NativeFunction
from gasang.native.kept_program import kept_program

FILE: Final = "keeper"
PATIENCE: Final = 10.0
"""Seconds in which a keeper has made its namespaces, and ends."""
_SOURCES: Final = (str(Path(__file__).parent), str(Path(host.__file__).parent))


def _entry() -> NativeFunction:
    return program.keep


@dataclass(frozen=True)
class Keeper:
    """A keeper that runs: its number, when it was started (in ticks since the host's start), and a pidfd of it."""

    pid: int
    started: int
    descriptor: int

    def namespace(self, kind: str) -> int:
        """A descriptor of one of its namespaces, by its name in /proc/PID/ns. Raises OSError."""
        return os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)

    def end(self, folder: Path) -> None:
        """Let go of the namespaces, and forget it; waits until it is gone."""
        (folder / FILE).unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        waiting.poll(PATIENCE * 1000)
        with contextlib.suppress(ChildProcessError):  # where a former daemon has started it, it is not ours to bury
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def find(folder: Path) -> Keeper | None:
    """The keeper that the file in `folder` names; None where there is none, or it has ended."""
    record = _read(folder / FILE)
    pid, started = record.get("pid"), record.get("started")
    if not isinstance(pid, int) or pid <= 0 or record.get("boot") != boot_id():
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if not isinstance(started, int) or start_of(pid) != started:
        os.close(descriptor)
        return None
    return Keeper(pid, started, descriptor)


class Beginning:
    """A keeper that has made its namespaces and waits: nobody is mapped into them yet. Without `confirm` it ends."""

    def __init__(self, *, within: bool = False) -> None:
        """Start it; `within`: we are in the namespaces of users and mounts already. Raises OSError where the kernel gives none."""
        told, tell = os.pipe()
        hear, self._say = os.pipe()
        try:
            self.pid = _spawn(tell, hear, ["within"] if within else [])
        except OSError:
            os.close(self._say)
            raise
        finally:
            os.close(tell)
            os.close(hear)
        try:
            answer = _heard(told)
        finally:
            os.close(told)
        number = int.from_bytes(answer, "little") if answer else errno.ETIMEDOUT
        if number:
            self.give_up()
            raise OSError(number, os.strerror(number))

    def give_up(self) -> None:
        """Have it end."""
        os.close(self._say)
        os.waitpid(self.pid, 0)

    def confirm(self, folder: Path) -> Keeper:
        """Remember it in `folder` and let it stay: in this order, so that none stays that nobody knows. Raises OutOfSpaceError."""
        started = start_of(self.pid)
        if started is None:
            self.give_up()
            raise GasangError("the keeper of namespaces", "it has ended", "start the daemon again")
        try:
            fresh = folder / f"{FILE}.new"
            fresh.write_text(json.dumps({"pid": self.pid, "started": started, "boot": boot_id()}))
            fresh.replace(folder / FILE)
        except OSError as error:
            self.give_up()
            raise OutOfSpaceError(f"file {folder / FILE}", f"it cannot be written ({error.strerror})", "make room there") from error
        os.write(self._say, b"!")
        os.close(self._say)
        return Keeper(self.pid, started, os.pidfd_open(self.pid))


def keeper_program() -> bytes:
    """The program, compiled where it is not yet."""
    return kept_program("keeper", _SOURCES, _entry)


def _spawn(tell: int, hear: int, words: list[str]) -> int:
    image = sealed_program("gasang-keeper", keeper_program())
    wanted = {program.TELL: tell, program.HEAR: hear}
    moved = {number: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, FREE) for number, source in wanted.items()}
    actions: list[Any] = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    actions += [(os.POSIX_SPAWN_DUP2, source, number) for number, source in moved.items()]
    try:  # in a session of its own: Ctrl-C is the daemon's, not the keeper's
        return os.posix_spawn(f"/proc/self/fd/{image}", ["gasang-keeper", *words], {}, file_actions=actions, setsid=True)
    finally:
        for descriptor in (image, *moved.values()):
            os.close(descriptor)


def _heard(told: int) -> bytes:
    """What it tells: 0, or why there are no namespaces; nothing from one that has ended, or takes too long."""
    if not select.select([told], [], [], PATIENCE)[0]:
        return b""
    return os.read(told, 8)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
