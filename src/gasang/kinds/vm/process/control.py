"""A machine's control socket: each connection has a thread that answers its requests in order (packets.py).

Whatever comes, the answer to what is wrong is an error; only the machine's own user can connect.
"""

from __future__ import annotations

import _thread
import array
import contextlib
import errno
import os
import select
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, OutOfSpaceError, StateError, UsageError
from gasang.kinds.vm.process import packets

CONNECTIONS: Final = 16
"""More are refused: who asks is the daemon."""
_EARLY: Final = f"{packets.NAME}.next"
_RIGHTS: Final = 8
_MOMENT: Final = 2.0
_SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What the host lacks for another connection, for a while."""
_SHORTLY: Final = 0.1
_BEGINNING: Final = 2.0
"""Seconds in which a thread begins that will begin at all."""
NO_MEMORY: Final = packets.refusal(OutOfSpaceError("machine", "the host has no memory left", "end other programs"))
"""Made before: then there may be none for making it."""
Handed = socket.socket | FileIO
"""What comes along with a request: a socket, or another file."""
Handler = Callable[[dict[str, Any], list[Handed]], object]


class ControlServer:
    """Listens in `folder` until it is closed. `verbs` are what can be asked; a handler gets the words and the files that came along.

    An `early` one is found there from `publish` on: another may be there until then.
    """

    def __init__(self, folder: Path, verbs: dict[str, Handler], *, early: bool = False) -> None:
        """Raises OSError."""
        self._folder = folder
        name = _EARLY if early else packets.NAME
        self._verbs = verbs
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._open: set[socket.socket] = set()
        self._handed: set[Handed] = set()
        self.receiving = threading.Lock()
        """Held while descriptors come in: who forks the process with this held knows of all of them."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _opened(folder) as place:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
            before = os.umask(0o177)
            try:
                self._listener.bind(f"/proc/self/fd/{place}/{name}")
            finally:
                os.umask(before)
        self._listener.listen(CONNECTIONS)
        self._listening = threading.Thread(target=self._accept, name="control", daemon=True)
        self._listening.start()

    def publish(self) -> None:
        """Be found. Raises OSError."""
        (self._folder / _EARLY).replace(self._folder / packets.NAME)

    def abandon(self, own: Collection[Handed] = ()) -> None:
        """In a process forked with `receiving` held, whose parent goes on listening: let go of its sockets. No other thread is there.

        And of what came along with requests under way, but for its `own`.
        """
        self._lock, self.receiving = threading.Lock(), threading.Lock()
        self._gone = threading.Condition(self._lock)
        for each in (self._listener, *self._open, *(self._handed - set(own))):
            each.close()
        self._open.clear()
        self._handed.clear()

    def close(self) -> None:
        """Take the socket away; answers under way are given if that takes no longer than a moment."""
        with contextlib.suppress(OSError):
            (self._folder / packets.NAME).unlink()
        self._listener.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + _MOMENT
        self._listening.join(_MOMENT)  # who has come by now is among the others then
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):  # its other end has gone
                    each.shutdown(socket.SHUT_RD)
            self._gone.wait_for(lambda: not self._open, max(0.0, end - time.monotonic()))
        self._listener.close()

    def _accept(self) -> None:
        while True:
            _wait(self._listener)
            try:
                connection = self._welcome()
            except MemoryError:
                time.sleep(_SHORTLY)  # no event tells when there is some again
                continue
            except OSError as error:
                if error.errno not in _SHORT:  # it was closed
                    return
                time.sleep(_SHORTLY)
                continue
            try:
                if len(self._open) > CONNECTIONS:
                    raise StateError("machine", f"{CONNECTIONS} are connected to it", "end one of them")
                begin(partial(self._serve, connection))
            except GasangError as error:
                _send(connection, packets.refusal(error))
                self._hang_up(connection)

    def _welcome(self) -> socket.socket:
        """Who has come. Raises OSError, MemoryError."""
        with self.receiving:
            while True:
                with contextlib.suppress(ConnectionAbortedError):
                    connection, _ = self._listener.accept()
                    with self._lock:
                        self._open.add(connection)
                    return connection

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (received := self._receive(connection)) is not None:
                packet, flags, handed = received
                try:
                    reply = self._answer(packet, flags, handed)
                finally:
                    self._let_go(handed)
                if not _send(connection, reply):
                    return
        except MemoryError:
            _send(connection, NO_MEMORY)
        finally:
            self._hang_up(connection)

    def _hang_up(self, connection: socket.socket) -> None:
        with self.receiving:
            connection.close()
            with self._gone:
                self._open.discard(connection)
                self._gone.notify_all()

    def _receive(self, connection: socket.socket) -> tuple[bytes, int, list[Handed]] | None:
        _wait(connection)
        with self.receiving:
            received = receive(connection)
            if received is not None:
                self._handed.update(received[2])
        return received

    def _let_go(self, handed: list[Handed]) -> None:
        with self.receiving:
            self._handed.difference_update(handed)
            for each in handed:
                each.close()

    def _answer(self, packet: bytes, flags: int, handed: list[Handed]) -> bytes:
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise UsageError("request to a machine", f"it is longer than {packets.MOST} bytes, or brings too much", "send less")
            verb, words = packets.read_request(packet)
            handler = self._verbs.get(verb)
            if handler is None:
                raise UsageError(f"request {verb[:40]!r}", "there is none of this name", f"use one of {', '.join(self._verbs)}")
            return packets.answer(handler(words, handed))
        except GasangError as error:
            return packets.refusal(error)
        except MemoryError:
            return NO_MEMORY
        except OSError as error:
            return packets.refusal(GasangError("machine", f"the host refused ({error.strerror})", "look at its log"))


def begin(work: Callable[[], None]) -> None:
    """Have it done on a thread of its own, which has begun. Raises OutOfSpaceError where the host has no room for another.

    Thread.start of the threading module waits for ever for a thread that has no memory for its first steps.
    """
    claim, begun = threading.Lock(), threading.Event()

    def run() -> None:
        if claim.acquire(blocking=False):
            begun.set()
            work()

    try:
        _thread.start_new_thread(run, ())
        done = begun.wait(_BEGINNING) or not claim.acquire(blocking=False)
    except (RuntimeError, MemoryError):
        done = False
    if not done:
        raise OutOfSpaceError("machine", "the host has no room for another thread of it", "end other programs")


def overlook_shortage() -> None:
    """In a machine's process: no words on its guest's console about a thread that had no memory to begin, for which `begin` answers.

    Where there is none for this either, Python says so.
    """

    def hear(told: sys.UnraisableHookArgs) -> None:
        if not issubclass(told.exc_type, MemoryError):
            sys.__unraisablehook__(told)

    sys.unraisablehook = hear


def receive(connection: socket.socket) -> tuple[bytes, int, list[Handed]] | None:
    """A packet, its flags and the files that came with it; None at the end, and for an empty one."""
    space = socket.CMSG_SPACE(_RIGHTS * array.array("i").itemsize)
    try:
        packet, rights, flags, _ = connection.recvmsg(packets.MOST, space, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    handed: list[Handed] = []
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            handed += [made for number in numbers if (made := _owned(number)) is not None]
    if not packet and not rights:
        return None
    return packet, flags, handed


def _owned(number: int) -> Handed | None:
    """A descriptor, to be closed by its owner; a folder's is closed at once, for a way out of the jail leads over it."""
    if stat.S_ISSOCK(mode := os.fstat(number).st_mode):
        return socket.socket(fileno=number)
    if stat.S_ISDIR(mode):
        os.close(number)
        return None
    return FileIO(number)


def _wait(ours: socket.socket) -> None:
    """Until something comes, or it ends."""
    waiting = select.poll()
    waiting.register(ours, select.POLLIN)
    waiting.poll()


def _send(connection: socket.socket, packet: bytes) -> bool:
    try:
        connection.sendall(packet, socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _opened(folder: Path) -> Any:
    """A descriptor of a folder, whose path may be longer than a socket's may be."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield place
    finally:
        os.close(place)
