"""One TCP connection of the guest's, joined to one of the host's.

What a slow end has not taken is kept, no more than a window each way, and the other end is held back. Each end may finish by itself, and
where one breaks off, so does the other.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
from time import monotonic
from typing import Final, Protocol

from gasang.network.loop import Loop
from gasang.network.user.checksum import Data
from gasang.network.user.packets import Packet
from gasang.network.user.tcp.connection import Connection, Phase
from gasang.network.user.tcp.segment import Segment

_CHUNK: Final = 1 << 18
_RESET: Final = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """Who keeps the streams."""

    loop: Loop

    def gone(self, stream: Stream) -> None:
        """It is over."""
        ...

    def refused(self, packet: Packet, segment: Segment, reason: int) -> None:
        """The outside did not take the call that `segment` asks for, for a reason of errno."""
        ...


class Stream:
    """`outside` is connected, or about to be; it is ours. `call` asks the guest, `begin` is for a guest that has called."""

    def __init__(self, owner: Owner, outside: socket.socket, connection: Connection) -> None:
        self.connection = connection
        self.since = monotonic()
        self.is_connecting = False
        self.is_from_outside = False
        self._owner = owner
        self._outside = outside
        self._asked: tuple[Packet, Segment] | None = None
        self._pending = bytearray()
        self._outside_finished = self._told_outside = self._is_over = False
        self._events = 0
        self._alarm = -1
        self._alarm_at = float("inf")
        with contextlib.suppress(OSError):  # one end of a pair has no such option
            outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_settled(self) -> bool:
        """Whether all has been said, both ways, and it is only remembered."""
        return self.connection.phase is Phase.LINGERS and not self._pending

    def begin(self, packet: Packet, syn: Segment) -> None:
        """The guest has called; it is answered when the outside has."""
        self._asked = packet, syn
        self.is_connecting = True
        self._watch(selectors.EVENT_WRITE)

    def call(self) -> None:
        """Somebody outside has called the guest."""
        self.is_from_outside = True
        self.connection.call(monotonic())
        self.settle()

    def take(self, segment: Segment) -> None:
        """A segment of the guest's."""
        if self.is_connecting:
            return
        for data in self.connection.receive(segment, monotonic()):
            self._pass_out(data)

    def settle(self) -> None:
        """What has happened has consequences: acknowledge, watch what can go on, end what is over."""
        if self._is_over or self.is_connecting:
            return
        connection = self.connection
        if connection.phase is Phase.GONE and (connection.was_reset or not self._pending):
            self.end(breaks=connection.was_reset)
            return
        if connection.guest_has_finished and not self._pending and not self._told_outside:
            self._told_outside = True
            with contextlib.suppress(OSError):
                self._outside.shutdown(socket.SHUT_WR)
        connection.held = len(self._pending)
        connection.flush()
        reads = connection.room > 0 and not self._outside_finished
        self._watch((selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._pending else 0))
        self._set_alarm()

    def end(self, *, breaks: bool) -> None:
        """Close the outside, broken off if it `breaks`; the guest has been told, or need not be."""
        if self._is_over:
            return
        self._is_over = True
        self._watch(0)
        self._owner.loop.deadlines.cancel(self._alarm)
        if breaks:
            with contextlib.suppress(OSError):
                self._outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._outside.close()
        self._owner.gone(self)

    def give_up(self) -> None:
        """End it from here."""
        if not self.is_connecting:
            self.connection.reset()
        self.end(breaks=True)

    # The outside.

    def _ready(self, events: int) -> None:
        if self.is_connecting:
            self._connected()
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._flush()
            if events & selectors.EVENT_READ:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.give_up()
        self.settle()

    def _connected(self) -> None:
        assert self._asked is not None
        error = self._outside.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        packet, syn = self._asked
        if error:
            self.end(breaks=False)
            self._owner.refused(packet, syn, error)
            return
        self.is_connecting, self._asked = False, None
        self.connection.answer(syn, monotonic())
        self.settle()

    def _read(self) -> None:
        room = self.connection.room
        if not room or self._outside_finished:
            return
        data = self._outside.recv(min(room, _CHUNK))
        if data:
            self.connection.send(data, monotonic())
        else:
            self._outside_finished = True
            self.connection.finish(monotonic())

    def _pass_out(self, data: Data) -> None:
        if self._is_over:
            return
        sent = 0
        if not self._pending:
            try:
                sent = self._outside.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.give_up()
                return
        if sent < len(data):
            self._pending += data[sent:]

    def _flush(self) -> None:
        sent = self._outside.send(self._pending)
        del self._pending[:sent]

    def _watch(self, events: int) -> None:
        if events == self._events:
            return
        selector = self._owner.loop.selector
        if not events:
            selector.unregister(self._outside)
        elif self._events:
            selector.modify(self._outside, events, self._ready)
        else:
            selector.register(self._outside, events, self._ready)
        self._events = events

    # Time. An alarm that comes too early looks again: a deadline moves with every segment, and alarms are not for so many changes.

    def _set_alarm(self) -> None:
        deadline = self.connection.deadline
        if deadline is not None and deadline < self._alarm_at:
            self._owner.loop.deadlines.cancel(self._alarm)
            self._alarm_at = deadline
            self._alarm = self._owner.loop.deadlines.after(max(0.0, deadline - monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm_at = float("inf")
        now, deadline = monotonic(), self.connection.deadline
        if deadline is not None and deadline <= now:
            self.connection.expire(now)
        self.settle()


def connecting(address: tuple[str, int]) -> tuple[socket.socket, int]:
    """A socket that is about to be connected, and the error it has had so far, or 0. Raises OSError where there can be none."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    error = made.connect_ex(address)
    return made, 0 if error == errno.EINPROGRESS else error
