"""Doing a plan from Python: the memory it lies in, the native spawn, and what is said when an operation fails."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import threading
from collections.abc import Callable
from functools import cache
from typing import ClassVar, Final

from gasang.core.errors import GasangError
from gasang.kinds.container import layout
from gasang.kinds.container.library import LAUNCHER, load
from gasang.kinds.container.plan import Built
from gasang.native import ctype_of

_SPAWNED: Final = ctype_of(layout.Spawned)
_EVENT_SIZE: Final = 24
_MFD_EXEC: Final = 0x10


class LaunchError(GasangError):
    """The host refused a step of making a container or a process in one."""

    def __init__(self, identity: str, phrase: str, error: int) -> None:
        super().__init__(f"container {identity}", f"cannot {phrase}: {reason(phrase, error)}")
        self.phrase = phrase
        self.error = error


class ProgramMissingError(LaunchError):
    """The program is not there."""

    http_status: ClassVar[int] = 400
    exit_code: ClassVar[int] = 127
    guest_code: ClassVar[int] = 127


class ProgramRefusedError(LaunchError):
    """The program is there and cannot be executed."""

    http_status: ClassVar[int] = 400
    exit_code: ClassVar[int] = 126
    guest_code: ClassVar[int] = 126


def reason(phrase: str, error: int) -> str:
    """What an error number means; those above 1000 are a hook's end."""
    if error > 2000:
        return f"it was ended by signal {error - 2000}"
    if error > 1000:
        return f"it ended with exit code {error - 1000}"
    if phrase.startswith("execute ") and error in (errno.ENOENT, errno.ENOTDIR):
        return "executable file not found" if "/" in phrase else "executable file not found in $PATH"
    return os.strerror(error).lower()


def launch_error(identity: str, phrase: str, error: int) -> LaunchError:
    """The exception for a failed operation."""
    if phrase.startswith("execute "):
        kind = ProgramMissingError if error in (errno.ENOENT, errno.ENOTDIR) else ProgramRefusedError
        return kind(identity, phrase, error)
    return LaunchError(identity, phrase, error)


class Child:
    """A process made by a plan: its ids, and the pipes through which it tells and is told."""

    def __init__(self, identity: str, built: Built) -> None:
        self._identity = identity
        self._built = built
        self._outcome = _SPAWNED(pid=-1, pidfd=-1, status=-1, control=-1)
        self._event = ctypes.create_string_buffer(_EVENT_SIZE)
        self._result: int | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """As the host numbers it."""
        return int(self._outcome.pid)

    @property
    def pidfd(self) -> int:
        """A descriptor of the process."""
        return int(self._outcome.pidfd)

    @property
    def event(self) -> int:
        """The last event, as layout.py names them."""
        return int(self._outcome.event)

    @property
    def value(self) -> int:
        """The event's value."""
        return int(self._outcome.value)

    def spawn(self) -> None:
        """Make the process, up to its first event. Raises LaunchError if that is a failure."""
        data = self._built.data
        buffer = ctypes.create_string_buffer(data, len(data))
        result = load().functions["spawn"](buffer, len(data), self._outcome)
        if result < 0:
            self.close()
            raise launch_error(self._identity, "create the process", -result)
        self._check()

    def follow(self) -> None:
        """Wait for the next event. Raises LaunchError if it is a failure."""
        if load().functions["watch"](self._outcome.status, self._outcome, self._event) < 0:
            raise launch_error(self._identity, "hear from the process", errno.EIO)
        self._check()

    def _check(self) -> None:
        if self.event != layout.FAILED:
            return
        error = launch_error(self._identity, self._built.phrase(self._outcome.list, self._outcome.index), self._outcome.error)
        if self.pid > 0:
            self.wait()
        self.close()
        raise error

    def tell(self, data: bytes) -> None:
        """Let a process go on that waits for word."""
        os.write(self._outcome.control, data)

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.poll()
        with self._lock:
            if self._result is None:
                result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                assert result is not None, "without WNOHANG there is always an answer"
                self._result = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
            return self._result

    @property
    def reaped(self) -> bool:
        """Whether its end is known, and its process id given back."""
        return self._result is not None

    def end(self) -> None:
        """Kill it if it runs, and reap it: a process of a container that nobody reaps keeps the container's first one from ending."""
        if self.pidfd >= 0 and self._result is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self.wait()

    def close(self) -> None:
        """Close what is open; the process is left to itself."""
        for name in ("status", "control", "pidfd"):
            descriptor = getattr(self._outcome, name)
            if descriptor >= 0:
                setattr(self._outcome, name, -1)
                os.close(descriptor)


@cache
def launcher() -> int:
    """A descriptor of the launcher's program, sealed; made at first use and kept open. Raises OSError if the host has no memory for it."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("gasang-launcher", flags | _MFD_EXEC)
    except OSError:  # before Linux 6.3 there is no such flag, and every such file can be executed
        descriptor = os.memfd_create("gasang-launcher", flags)
    os.write(descriptor, load().data[LAUNCHER])
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return descriptor


def launch(identity: str, make: Callable[[int, int], Built]) -> Child:
    """Make a process by the plan that `make` gives for (the launcher's descriptor, that of the plan's memory)."""
    memory = os.memfd_create("gasang-plan", os.MFD_CLOEXEC)
    try:
        built = make(launcher(), memory)
        os.write(memory, built.data)
        child = Child(identity, built)
        child.spawn()
    finally:
        os.close(memory)
    return child
