"""The daemon's side of the process that machines are born in (kinds/vm/process/nursery.py). Without one they are started from nothing."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

from gasang.core.errors import StateError
from gasang.kinds.vm.process import packets
from gasang.kinds.vm.process.nursery import READY, STAND

_EXTRA = 3


class Nursery:
    """Begun when the first machine starts; ready some moments later; gone with the daemon."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self.ready = False

    def begin(self) -> None:
        """Start its process, if it has none. It may fail to be made: machines are then started from nothing."""
        if self._connection is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = _spawn(theirs.fileno())
            except OSError:
                ours.close()
                return
        ours.setblocking(False)
        self._connection = ours
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._hear)
        _reap(loop, pid)

    def _hear(self) -> None:
        assert self._connection is not None
        try:
            self.ready = self._connection.recv(packets.MOST) == READY
        except OSError:
            self.ready = False
        if not self.ready:
            self.close()

    def bear(self, folder: Path, streams: int, link: socket.socket, told: socket.socket, tap: int = -1) -> None:
        """Have the machine in `folder` born, its card plugged into `tap` if it has one. Raises StateError where the process is gone."""
        self._ask(packets.request("bear", {"folder": str(folder), "streams": streams}), link, told, tap)

    def stand(self, folder: Path, link: socket.socket, told: socket.socket, heir: Path) -> None:
        """Have the machine in `folder` restored, to wait for being forked; it ends with `link`. Raises StateError as `bear` does.

        Its forks are to replace the machine in the folder `heir`.
        """
        self._ask(packets.request(STAND, {"folder": str(folder), "heir": str(heir)}), link, told)

    def _ask(self, words: bytes, link: socket.socket, told: socket.socket, tap: int = -1) -> None:
        rights = array.array("i", [link.fileno(), told.fileno(), *([tap] if tap >= 0 else [])])
        try:
            if self._connection is None:
                raise OSError("it has ended")
            self._connection.sendmsg([words], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError as error:
            self.close()
            raise StateError("the process that machines are born in", f"it is gone ({error})", "start the machine again") from error

    def close(self) -> None:
        """End the process; machines stay."""
        if self._connection is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
        self._connection, self.ready = None, False


def _spawn(descriptor: int) -> int:
    words = [sys.executable, "-P", "-m", "gasang.kinds.vm.process.nursery", str(_EXTRA)]
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, descriptor, _EXTRA)]
    if descriptor == _EXTRA:  # what is put where it is already stays closed on exec
        os.set_inheritable(descriptor, True)
        actions.pop()
    return os.posix_spawn(sys.executable, words, os.environ, file_actions=actions, setsid=True)


def _reap(loop: asyncio.AbstractEventLoop, pid: int) -> None:
    """Forget the process when it ends."""
    descriptor = os.pidfd_open(pid)

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    loop.add_reader(descriptor, reap)
