"""A container's process in the foreground: its terminal is relayed, signals are passed on, its exit code becomes ours."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final

from gasang.cli.terminal import RawMode, window_size
from gasang.core.errors import GasangError

PASSED_ON: Final = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
_TIOCSWINSZ: Final = 0x5414
_CHUNK: Final = 1 << 16


class Terminal:
    """The near end of a container's terminal: a pair of sockets takes the place of a console socket."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    @property
    def socket(self) -> int:
        """What the container sends its terminal to."""
        return self._theirs.fileno()

    def receive(self) -> int:
        """The terminal's other end. Raises GasangError if none came."""
        self._theirs.close()
        rights = array.array("i")
        _, ancillary, _, _ = self._ours.recvmsg(4096, socket.CMSG_SPACE(rights.itemsize))
        self._ours.close()
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                rights.frombytes(data[: rights.itemsize])
        if not rights:
            raise GasangError("terminal", "the container has sent none")
        return rights[0]

    def close(self) -> None:
        """Close both ends."""
        self._ours.close()
        self._theirs.close()


@contextlib.contextmanager
def signals_passed_to(pidfd: int, master: int = -1) -> Iterator[None]:
    """While inside, signals meant for us go to the process, and the terminal's size follows ours."""

    def pass_on(number: int, frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)

    def resize(number: int, frame: Any) -> None:
        copy_size(master)

    handlers = dict.fromkeys(PASSED_ON, pass_on)
    if master >= 0:
        handlers[signal.SIGWINCH] = resize
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def copy_size(master: int) -> None:
    """Give the container's terminal the size of ours."""
    size = window_size(0)
    if size is not None:
        fcntl.ioctl(master, _TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def relay(master: int, pidfd: int) -> None:
    """Copy between our standard input and output and a terminal, until the process has ended and all is shown."""
    copy_size(master)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, master)
        if os.isatty(0):
            undo.enter_context(RawMode(0))
        poll = select.poll()
        for descriptor in (0, master, pidfd):
            poll.register(descriptor, select.POLLIN)
        ended = False
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(0 if ended else None)}
            if ended and master not in ready:
                return
            if master in ready and not _copy(master, 1):
                return
            if 0 in ready and not _copy(0, master):
                poll.unregister(0)
                _write_all(master, b"\x04")  # the end of input, as a person types it
            if pidfd in ready:
                ended = True
                poll.unregister(pidfd)


def _copy(source: int, target: int) -> bool:
    """Copy what is there; False at the end. A terminal whose last user has gone gives an error for it."""
    try:
        data = os.read(source, _CHUNK)
    except OSError:
        return False
    _write_all(target, data)
    return bool(data)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(target, view) :]
