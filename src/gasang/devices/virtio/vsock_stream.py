"""One connection of the virtio socket device: what waits for the guest, and how much either side may still send.

Each side tells how large its buffer is and how much it has taken out of it; the other sends no more than fits (virtio 1.2, section
5.10.6.3). What the guest sends belongs to the `Peer`, who says when it has gone on: until then it counts against our buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gasang.devices.virtio.vsock_packet import COUNTER, NO_RECEIVE, NO_SEND, Operation, Packet

ROOM = 256 * 1024
"""Bytes from the guest that a connection's peer may have to keep."""
WAITING_LIMIT = 256 * 1024
"""Bytes from the host that a connection keeps for the guest."""
LARGEST = 64 * 1024
"""Bytes of content in one packet."""


class Peer(Protocol):
    """The host's end of a connection. Called with the bus lock held; must be quick."""

    def opened(self) -> None:
        """The guest has agreed."""
        ...

    def received(self, data: bytes) -> None:
        """The guest has sent this; `Stream.consumed` is to be told when it has gone on."""
        ...

    def room(self) -> None:
        """There is room again behind a `Stream.send` that could not take all."""
        ...

    def finished(self) -> None:
        """The guest sends no more."""
        ...

    def closed(self) -> None:
        """The connection is gone: nothing more is heard of it."""
        ...


class Address(NamedTuple):
    """A connection's name, from the host's point of view."""

    host_port: int
    guest_port: int


class Say(NamedTuple):
    """A packet's content without addresses and credit."""

    operation: Operation
    flags: int = 0
    content: bytes = b""


@dataclass(eq=False)
class Stream:
    """A connection, as its peer holds it. Its methods are for any thread; what begins with `guest_` and `next_` is the device's."""

    address: Address
    serve: Callable[[Callable[[], None]], None]
    """Runs a job under the bus lock, and then tells the guest what the job has left to be told."""
    drop: Callable[[Stream], None]
    """Forgets a connection, telling the guest that it is gone. The bus lock is held."""
    peer: Peer | None = None
    established: bool = False
    gone: bool = False
    _waiting: bytearray = field(default_factory=bytearray)
    _full: bool = False
    _finished: bool = False
    _finish_told: bool = False
    _guest_finished: bool = False
    _guest_room: int = 0
    _guest_taken: int = 0
    _sent: int = 0
    _received: int = 0
    _consumed: int = 0
    _told: int = 0

    # The host's side; any thread.

    def send(self, data: bytes) -> int:
        """Give the guest bytes; how many were taken. Where fewer were, the peer hears of `room` later."""
        taken = 0

        def job() -> None:
            nonlocal taken
            if not self.gone and not self._finished:
                taken = min(len(data), WAITING_LIMIT - len(self._waiting))
                self._waiting += data[:taken]
                self._full = taken < len(data)

        self.serve(job)
        return taken

    def consumed(self, count: int) -> None:
        """So many of the received bytes have gone on."""

        def job() -> None:
            self._consumed += count

        self.serve(job)

    def finish(self) -> None:
        """Nothing more is sent: the guest reads what was sent, then end-of-file."""

        def job() -> None:
            self._finished = True

        self.serve(job)

    def close(self) -> None:
        """End the connection at once. The peer hears nothing of it."""

        def job() -> None:
            if not self.gone:
                self.drop(self)

        self.serve(job)

    # The device's side; the bus lock is held.

    def guest_credit(self, packet: Packet) -> None:
        """What a packet says of the guest's buffer."""
        self._guest_room, self._guest_taken = packet.room, packet.taken

    def guest_sends(self, data: bytes) -> bool:
        """Take what the guest has sent; False where it was not allowed to."""
        if not self.established or self._guest_finished or self._received - self._consumed + len(data) > ROOM:
            return False
        self._received += len(data)
        if self.peer is not None and data:
            self.peer.received(data)
        return True

    def guest_shuts(self, flags: int) -> bool:
        """The guest sends or takes no more; True where that was the connection's end."""
        if flags & NO_RECEIVE:
            self._waiting.clear()
            self._finished = self._finish_told = True
        if flags & NO_SEND and not self._guest_finished:
            self._guest_finished = True
            if self.peer is not None:
                self.peer.finished()
        return self._finish_told and self._guest_finished

    @property
    def counters(self) -> tuple[int, int]:
        """Our buffer and what was taken out of it, as a packet tells them; they are told then."""
        self._told = self._consumed
        return ROOM, self._consumed & COUNTER

    def next_ready(self) -> bool:
        """Whether there is a packet for the guest."""
        if not self.established:
            return False
        return bool(self._waiting and self._credit()) or self._credit_is_due() or self._finish_is_due()

    def next_packet(self, most: int) -> Say:
        """That packet, of at most so many bytes of content."""
        if self._waiting and (credit := self._credit()) and most:
            content = bytes(self._waiting[: min(credit, most, LARGEST)])
            del self._waiting[: len(content)]
            self._sent += len(content)
            return Say(Operation.RW, 0, content)
        if self._finish_is_due():
            self._finish_told = True
            return Say(Operation.SHUTDOWN, NO_SEND | (NO_RECEIVE if self._guest_finished else 0))
        return Say(Operation.CREDIT_UPDATE)

    def next_done(self) -> None:
        """The packet is with the guest: there may be room for more."""
        if self._full and len(self._waiting) < WAITING_LIMIT and self.peer is not None:
            self._full = False
            self.peer.room()

    def _credit(self) -> int:
        return max(0, self._guest_room - (self._sent - self._guest_taken & COUNTER))

    def _credit_is_due(self) -> bool:
        """Whether the guest could think that there is little room although there is more."""
        return self._consumed - self._told >= ROOM // 4

    def _finish_is_due(self) -> bool:
        return self._finished and not self._finish_told and not self._waiting
