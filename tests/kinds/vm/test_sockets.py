"""The guest's sockets and the host's, put together."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from gasang.core.errors import GasangError
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.virtio.vsock_packet import NO_SEND, Operation, Packet
from gasang.kinds.vm.sockets import GUEST_SOCKET, GuestSockets, offered, sockets_of
from support.vsock_guest import Guest

PATIENCE = 20


class Woken:
    """A guest whose driver waits for interrupts."""

    def __init__(self, sockets: GuestSockets) -> None:
        self.guest = Guest(sockets.device)
        self.lock = self.guest.driver.transport.lock
        self._changed = threading.Condition(self.lock)
        self.guest.driver.irq.set = self._interrupted  # type: ignore[method-assign]
        self.came: list[tuple[Packet, bytes]] = []

    def _interrupted(self, level: bool) -> None:
        with self._changed:
            self._changed.notify_all()

    def until(self, ready: Callable[[], bool]) -> None:
        """Take packets, giving a buffer for each, until something is so."""
        with self._changed:
            while True:
                got = self.guest.got()
                self.came += got
                if not self.guest.driver.rings[0].taken:
                    self.guest.give(8, 1024)
                elif got:
                    continue
                elif ready():
                    return
                else:
                    assert self._changed.wait(PATIENCE)

    def operations(self) -> list[int]:
        """What has come."""
        return [packet.operation for packet, _ in self.came]

    def content(self) -> bytes:
        """All bytes that have come."""
        return b"".join(content for _, content in self.came)

    def say(self, operation: int, content: bytes = b"", *, ports: tuple[int, int] = (9, 1), flags: int = 0, taken: int = 0) -> None:
        """Send a packet."""
        with self.lock:
            self.guest.say(operation, content, ports=ports, flags=flags, taken=taken)


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[GuestSockets]:
    made = GuestSockets(tmp_path)
    yield made
    made.close()
    made.close()
    assert not made._ends
    assert not (tmp_path / GUEST_SOCKET).exists()


@pytest.fixture
def woken(sockets: GuestSockets) -> Woken:
    return Woken(sockets)


def client(folder: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(PATIENCE)
    made.connect(os.fspath(folder / GUEST_SOCKET))
    return made


def exactly(made: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := made.recv(count - len(data))):
        data += piece
    return data


def connected(folder: Path, woken: Woken) -> tuple[socket.socket, int]:
    """A client that talks to port 1024 of the guest, and the host's port."""
    made = client(folder)
    made.sendall(b"CONNECT 1024\n")
    woken.until(lambda: Operation.REQUEST in woken.operations())
    port = woken.came[-1][0].source_port
    woken.say(Operation.RESPONSE, ports=(1024, port))
    line = b"OK %d\n" % port
    assert exactly(made, len(line)) == line
    return made, port


def unread(made: socket.socket) -> int:
    """Whether the other end has yet to take something (SIOCOUTQ, unix(7))."""
    return int.from_bytes(fcntl.ioctl(made, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_what_comes_with_the_line_is_the_guests_as_soon_as_it_agrees(sockets: GuestSockets, tmp_path: Path, woken: Woken) -> None:
    busy = threading.Event()
    with client(tmp_path) as made:
        made.sendall(b"CONNECT 1024\nquestion")
        woken.until(lambda: Operation.REQUEST in woken.operations())
        while unread(made):  # nobody says when it is read: it may be in one of the thread's next turns
            turned = threading.Event()
            sockets.soon(turned.set)
            assert turned.wait(PATIENCE)
        sockets.soon(lambda: busy.wait(PATIENCE) and None)
        woken.say(Operation.RESPONSE, ports=(1024, woken.came[-1][0].source_port))
        woken.until(lambda: woken.content() == b"question")
        busy.set()


def test_a_program_of_the_host_talks_to_one_in_the_guest(tmp_path: Path, woken: Woken) -> None:
    made, port = connected(tmp_path, woken)
    with made:
        made.sendall(b"question")
        woken.until(lambda: woken.content() == b"question")
        woken.say(Operation.RW, b"answer", ports=(1024, port))
        assert exactly(made, 6) == b"answer"
        made.shutdown(socket.SHUT_WR)
        woken.until(lambda: Operation.SHUTDOWN in woken.operations())
        woken.say(Operation.RW, b"and more", ports=(1024, port))
        woken.say(Operation.SHUTDOWN, flags=NO_SEND, ports=(1024, port))
        assert exactly(made, 100) == b"and more"


def test_a_program_in_the_guest_talks_to_one_of_the_host(tmp_path: Path, woken: Woken) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(os.fspath(tmp_path / "52.sock"))
        listener.listen()
        listener.settimeout(PATIENCE)
        woken.say(Operation.REQUEST, ports=(9, 52))
        made, _ = listener.accept()
    with made:
        made.settimeout(PATIENCE)
        woken.say(Operation.RW, b"hello", ports=(9, 52))
        assert exactly(made, 5) == b"hello"
        made.sendall(b"welcome")
        woken.until(lambda: woken.content() == b"welcome")
        woken.say(Operation.RST, ports=(9, 52))
        assert made.recv(1) == b""


def test_where_nobody_listens_on_the_host(woken: Woken) -> None:
    woken.say(Operation.REQUEST, ports=(9, 52))
    woken.until(lambda: woken.operations() == [Operation.RST])


def test_where_nobody_listens_in_the_guest(tmp_path: Path, woken: Woken) -> None:
    with client(tmp_path) as made:
        made.sendall(b"CONNECT 7\n")
        woken.until(lambda: Operation.REQUEST in woken.operations())
        woken.say(Operation.RST, ports=(7, woken.came[-1][0].source_port))
        assert made.recv(1) == b""


@pytest.mark.parametrize("line", [b"HELLO 1\n", b"CONNECT\n", b"CONNECT x\n", b"CONNECT -1\n", b"CONNECT 4294967296\n", b"\xff" * 40])
def test_what_is_no_greeting_is_closed(line: bytes, tmp_path: Path, woken: Woken) -> None:
    with client(tmp_path) as made:
        made.sendall(line)
        with suppress(ConnectionResetError):  # closed with part of the line unread
            assert made.recv(1) == b""
    assert woken.came == []


def test_before_the_guest_has_booted_the_host_is_closed(tmp_path: Path, sockets: GuestSockets) -> None:
    with client(tmp_path) as made:
        made.sendall(b"CONNECT 1\n")
        assert made.recv(1) == b""


def _has_more(woken: Woken, than: int) -> bool:
    return len(woken.content()) > than


def _may_send(woken: Woken, up_to: int) -> bool:
    last = woken.came[-1][0]
    return up_to - last.taken <= last.room


def test_much_goes_both_ways(tmp_path: Path, woken: Woken) -> None:
    made, port = connected(tmp_path, woken)
    data = os.urandom(3 << 20)
    with made:
        writer = threading.Thread(target=made.sendall, args=(data,))
        writer.start()
        back = bytearray()
        reader = threading.Thread(target=lambda: back.extend(exactly(made, len(data))))
        reader.start()
        sent = 0
        while sent < len(data):
            woken.until(partial(_has_more, woken, sent))
            content = woken.content()
            for start in range(sent, len(content), 4096):
                woken.until(partial(_may_send, woken, start + 4096))
                woken.say(Operation.RW, content[start : start + 4096], ports=(1024, port), taken=len(content))
            sent = len(content)
        writer.join()
        reader.join(PATIENCE)
    assert bytes(back) == data
    assert Operation.RST not in woken.operations()


def test_closing_ends_what_is_under_way(tmp_path: Path, sockets: GuestSockets, woken: Woken) -> None:
    made, _ = connected(tmp_path, woken)
    with made:
        sockets.close()
        assert made.recv(1) == b""


def test_only_its_owner_may_use_the_socket(tmp_path: Path, sockets: GuestSockets) -> None:
    assert (tmp_path / GUEST_SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_twin_has_sockets_of_its_own(tmp_path: Path, sockets: GuestSockets, woken: Woken) -> None:
    (tmp_path / "twin").mkdir()
    made, port = connected(tmp_path, woken)
    with woken.lock:  # as machines do: no other thread is in the device
        pid = os.fork()
    if pid == 0:
        os._exit(_twin(tmp_path / "twin", sockets, woken))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with made:  # the parent's connection is as it was
        made.sendall(b"question")
        woken.until(lambda: woken.content() == b"question")
        woken.say(Operation.RW, b"answer", ports=(1024, port))
        assert exactly(made, 6) == b"answer"
    assert (tmp_path / GUEST_SOCKET).exists()


def _twin(folder: Path, sockets: GuestSockets, woken: Woken) -> int:
    """The life of a twin: what went wrong, as a number."""
    woken.came.clear()
    sockets.renew(folder)
    made, port = connected(folder, woken)
    with made:
        made.sendall(b"twin")
        woken.until(lambda: woken.content() == b"twin")
        woken.say(Operation.RW, b"yes", ports=(1024, port))
        same = exactly(made, 3) == b"yes"
    sockets.close()
    return 0 if same and not (folder / GUEST_SOCKET).exists() else 1


def test_whose_a_machine_has(sockets: GuestSockets) -> None:
    assert sockets_of([sockets.device]) is sockets
    assert sockets_of([VirtioRng()]) is None


def test_they_are_offered_in_a_folder(tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        assert offered(None, "image x", cleanup) == []
        (device,) = offered(tmp_path, "image x", cleanup)
        assert device.device_id == 19
        assert (tmp_path / GUEST_SOCKET).is_socket()
    assert not (tmp_path / GUEST_SOCKET).exists()
    with pytest.raises(GasangError, match="image x: its sockets cannot be made"), ExitStack() as cleanup:
        offered(tmp_path / "nowhere", "image x", cleanup)
