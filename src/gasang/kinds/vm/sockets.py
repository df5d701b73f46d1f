"""A guest's socket device and unix sockets on the host, put together.

In the machine's folder stand `guest.sock`, where a program of the host writes `CONNECT PORT` and a newline, reads `OK PORT` and a newline,
and then talks to whoever listens on that port of the guest; and, made by programs of the host, `PORT.sock`: what the guest connects to when
it connects to that port of the host. A connection that nobody answers is closed.

The device's callbacks only write down what they hear; one thread does everything with sockets.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from gasang.core.errors import GasangError, StateError
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.vsock import VirtioVsock
from gasang.devices.virtio.vsock_stream import Peer, Stream
from gasang.host.short_paths import short_path

GUEST_SOCKET = "guest.sock"
_EARLY = f"{GUEST_SOCKET}.next"
PIECE = 64 * 1024
LONGEST_LINE = 32
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class GuestSockets:
    """The sockets of one machine; `device` is for its board. To be closed after the machine has stopped."""

    def __init__(self, folder: Path, cid: int = 3) -> None:
        """Raises OSError where the socket cannot be made."""
        self.device = SocketsDevice(cid, self)
        self._open(folder)

    def _open(self, folder: Path, name: str = GUEST_SOCKET) -> None:
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._heard: deque[Callable[[], None]] = deque()
        self._ends: set[_End] = set()
        self._closing = False
        self._listener = _listen(folder / name)
        self._awake, self._waker = socket.socketpair()
        for each in (self._listener, self._awake, self._waker):
            each.setblocking(False)
        self._selector.register(self._listener, _READ, self._greet)
        self._selector.register(self._awake, _READ, self._drain)
        self._thread = threading.Thread(target=self._run, name="guest-sockets", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every connection and remove the socket. Twice is once."""
        if self._closing:
            return
        self.soon(self._stop)
        self._thread.join()
        for end in list(self._ends):
            end.end()
        self._selector.close()
        for each in (self._listener, self._awake, self._waker):
            each.close()
        (self._folder / GUEST_SOCKET).unlink(missing_ok=True)

    def renew(self, folder: Path, *, early: bool = False) -> None:
        """In a forked process: be the twin's, in a folder of its own. What the parent's clients hold stays the parent's.

        The guest's connections are gone, and it is told so; to be called before it goes on. If it is `early`, others may have the socket
        in that folder until it is published. Raises OSError where the socket cannot be made.
        """
        self._selector.close()
        for each in (self._listener, self._awake, self._waker, *(end.socket for end in self._ends)):
            each.close()
        self._open(folder, _EARLY if early else GUEST_SOCKET)
        self.device.break_off()

    def publish(self) -> None:
        """Be found by the host's programs. Raises OSError."""
        (self._folder / _EARLY).replace(self._folder / GUEST_SOCKET)

    def _stop(self) -> None:
        self._closing = True

    def soon(self, job: Callable[[], None]) -> None:
        """Have the thread do something; from any thread."""
        self._heard.append(job)
        with suppress(BlockingIOError, OSError):  # a full pipe wakes it too, and one that has ended needs no waking
            self._waker.send(b"\0")

    def watch(self, end: _End, events: int) -> None:
        """Wait for a socket's events, or for none."""
        known = end.socket in self._selector.get_map()
        if events and known:
            self._selector.modify(end.socket, events, end.happened)
        elif events:
            self._selector.register(end.socket, events, end.happened)
        elif known:
            self._selector.unregister(end.socket)

    def forget(self, end: _End) -> None:
        """It has ended."""
        self._ends.discard(end)

    # The thread.

    def _run(self) -> None:
        while not self._closing:
            for key, events in self._selector.select():
                key.data(events)

    def _drain(self, events: int) -> None:
        with suppress(BlockingIOError):
            while self._awake.recv(4096):
                pass
        while self._heard and not self._closing:
            self._heard.popleft()()

    def _greet(self, events: int) -> None:
        with suppress(OSError):  # whoever came has gone again
            client, _ = self._listener.accept()
            self._take(_End(self, client))

    def _take(self, end: _End) -> None:
        self._ends.add(end)
        end.begin()

    # The device's thread, the bus lock held.

    def accept(self, stream: Stream) -> Peer | None:
        """The guest connects: whoever listens for that on the host, or nobody."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            with short_path(self._folder) as folder:
                made.connect(f"{folder}/{stream.address.host_port}.sock")
        except OSError:
            made.close()
            return None
        end = _End(self, made, stream)
        self.soon(partial(self._take, end))
        return end


class SocketsDevice(VirtioVsock):
    """The device, which knows whose it is."""

    def __init__(self, cid: int, sockets: GuestSockets) -> None:
        super().__init__(cid, sockets.accept)
        self.sockets = sockets


def offered(folder: Path | None, subject: str, cleanup: ExitStack) -> list[VirtioDevice]:
    """The device of a machine whose sockets are in a folder, if there is one; `cleanup` closes them. Raises GasangError."""
    if folder is None:
        return []
    try:
        made = GuestSockets(folder)
    except OSError as error:
        cause = f"its sockets cannot be made in {folder} ({error.strerror or error})"
        raise GasangError(subject, cause, "name a folder that can be written to") from error
    cleanup.callback(made.close)
    return [made.device]


def sockets_of(devices: Iterable[VirtioDevice]) -> GuestSockets | None:
    """Those of a machine that has these devices; None where it has none."""
    return next((device.sockets for device in devices if isinstance(device, SocketsDevice)), None)


class _End(Peer):
    """A unix socket whose other side is a stream of the guest's."""

    def __init__(self, sockets: GuestSockets, made: socket.socket, stream: Stream | None = None) -> None:
        made.setblocking(False)
        self.socket = made
        self._sockets = sockets
        self._stream = stream
        self._open = stream is not None
        self._line = b""
        self._to_guest = b""
        self._to_host = bytearray()
        self._ours = 0  # bytes at the front of what is for the host that the guest has not sent
        self._host_ended = self._guest_ended = self._over = False

    # What the device tells: any thread, the bus lock held.

    def opened(self) -> None:
        """The guest has agreed."""
        self._sockets.soon(self._agreed)

    def received(self, data: bytes) -> None:
        """From the guest."""
        self._sockets.soon(partial(self._pass_on, data))

    def room(self) -> None:
        """The guest's side takes more."""
        self._sockets.soon(self._push)

    def finished(self) -> None:
        """The guest sends no more."""
        self._sockets.soon(self._guest_finishes)

    def closed(self) -> None:
        """The connection is gone."""
        self._sockets.soon(self._guest_goes)

    # The thread of the sockets.

    def begin(self) -> None:
        """Wait for what comes."""
        self._watch()

    def happened(self, events: int) -> None:
        """The socket can be read or written."""
        try:
            if events & _WRITE:
                self._flush()
            if events & _READ and self.socket.fileno() >= 0:
                self._read()
        except OSError:
            self.end()

    def end(self) -> None:
        """Close both sides."""
        if self.socket.fileno() < 0:
            return
        self._sockets.watch(self, 0)
        self.socket.close()
        self._sockets.forget(self)
        if self._stream is not None:
            self._stream.close()

    def _watch(self) -> None:
        if self.socket.fileno() < 0:
            return
        reads = not self._host_ended and not self._to_guest
        self._sockets.watch(self, (_READ if reads else 0) | (_WRITE if self._to_host else 0))

    def _read(self) -> None:
        if self._stream is None:
            self._read_line()
            return
        data = self.socket.recv(PIECE)
        if not data:
            self._host_ended = True
            self._stream.finish()
        self._to_guest = data
        self._push()

    def _read_line(self) -> None:
        """`CONNECT PORT`, byte for byte: what is behind the line belongs to the guest."""
        while not self._line.endswith(b"\n"):
            try:
                byte = self.socket.recv(1)
            except BlockingIOError:
                return
            self._line += byte
            if not byte or len(self._line) > LONGEST_LINE:
                self.end()
                return
        word, _, number = self._line.decode("ascii", "replace").strip().partition(" ")
        if word != "CONNECT" or not (number.isascii() and number.isdigit()) or int(number) > 0xFFFF_FFFE:
            self.end()
            return
        try:
            self._stream = self._sockets.device.connect(int(number), self)
        except StateError:
            self.end()
            return
        with suppress(BlockingIOError):  # what came with the line is the stream's by the time the guest agrees, and goes to it at once
            self._read()
        self._watch()

    def _agreed(self) -> None:
        if not self._open and self._stream is not None:
            self._open = True
            self._to_host += b"OK %d\n" % self._stream.address.host_port
            self._ours = len(self._to_host)
        self._try_flush()

    def _push(self) -> None:
        if self._stream is not None and self._to_guest:
            taken = self._stream.send(self._to_guest)
            self._to_guest = self._to_guest[taken:]
        self._watch()

    def _pass_on(self, data: bytes) -> None:
        self._to_host += data
        self._try_flush()

    def _try_flush(self) -> None:
        try:
            self._flush()
        except OSError:
            self.end()

    def _flush(self) -> None:
        """Write what there is for the host; what was the guest's is told to be consumed."""
        if self.socket.fileno() < 0:
            return
        while self._to_host:
            try:
                count = self.socket.send(memoryview(self._to_host)[:PIECE])
            except BlockingIOError:
                break
            del self._to_host[:count]
            ours = min(self._ours, count)
            self._ours -= ours
            if self._stream is not None:
                self._stream.consumed(count - ours)
        if not self._to_host and self._over:
            self.end()
            return
        if not self._to_host and self._guest_ended:
            self.socket.shutdown(socket.SHUT_WR)
        self._watch()

    def _guest_finishes(self) -> None:
        self._guest_ended = True
        self._try_flush()

    def _guest_goes(self) -> None:
        self._over = True
        self._try_flush()


def _listen(path: Path) -> socket.socket:
    """A socket that only its owner may use."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        with short_path(path.parent) as folder:
            listener.bind(f"{folder}/{path.name}")
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
