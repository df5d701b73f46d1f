"""What joins a guest's connection to the host's: nothing that the guest was told has arrived is lost."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace

from gasang.network.loop import Loop
from gasang.network.user.packets import Packet
from gasang.network.user.stream import Stream
from gasang.network.user.tcp.connection import Connection, Ends, Phase
from gasang.network.user.tcp.segment import ACK, FIN, RST, SYN, Segment

GUEST = Packet(bytes(6), bytes(4), bytes(4), 6, b"", b"", 64)
CALL = Segment(1000, 80, 100, 0, SYN, 65535, mss=1460)
NEXT = Segment(1000, 80, 101, 8, ACK, 65535)


class Owner:
    """Of one stream, whose outside the test has the other end of."""

    def __init__(self) -> None:
        self.loop = Loop("none")
        self.is_gone = False
        self.sent: list[Segment] = []
        self.far, outside = socket.socketpair()
        outside.setblocking(False)
        self.connection = Connection(Ends(80, 1000, 1460), 7, lambda segment, options: self.sent.append(segment), lambda: 0)
        self.stuffed = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.stuffed += outside.send(bytes(4096))
        self.stream = Stream(self, outside, self.connection)
        self.connection.answer(CALL, 0.0)
        self.stream.take(NEXT)

    def gone(self, stream: Stream) -> None:
        self.is_gone = True

    def refused(self, packet: Packet, segment: Segment, reason: int) -> None:
        raise AssertionError

    def wait(self) -> None:
        """Do what is ready."""
        for key, events in self.loop.selector.select(5):
            key.data(events)

    def close(self) -> None:
        self.far.close()
        self.loop.close(lambda: None)


def test_a_slow_reader_gets_what_a_guest_said_that_is_gone_already() -> None:
    owner = Owner()
    owner.far.shutdown(socket.SHUT_WR)
    owner.stream.take(replace(NEXT, payload=b"last words" * 100, flags=ACK | FIN))
    owner.stream.settle()
    owner.wait()  # the outside has finished
    assert owner.sent[-1].flags & FIN
    owner.stream.take(replace(NEXT, sequence=1102, acknowledgement=9))
    assert owner.connection.phase is Phase.LINGERS
    assert not owner.stream.is_settled
    owner.connection.expire(1e9)
    owner.stream.settle()
    assert owner.connection.phase is Phase.GONE
    assert not owner.is_gone
    got = bytearray()
    while len(got) < owner.stuffed + 1000:
        got += owner.far.recv(1 << 20)
        if not owner.is_gone:
            owner.wait()
    assert got[owner.stuffed :] == b"last words" * 100
    assert owner.far.recv(1) == b""
    assert owner.is_gone
    owner.close()


def test_a_guest_that_breaks_off_is_not_waited_for() -> None:
    owner = Owner()
    owner.stream.take(replace(NEXT, payload=b"last words"))
    owner.stream.take(replace(NEXT, sequence=111, flags=RST))
    owner.stream.settle()
    assert owner.is_gone
    owner.close()


def test_what_waits_for_the_outside_makes_the_window_smaller() -> None:
    owner = Owner()
    owner.stream.settle()
    before = owner.sent[-1].window
    owner.stream.take(replace(NEXT, payload=bytes(1000)))
    owner.stream.settle()
    assert owner.sent[-1].acknowledgement == 1101
    assert owner.sent[-1].window == before - 1000
    owner.stream.give_up()
    assert owner.sent[-1].flags & RST
    assert owner.is_gone
    owner.close()
