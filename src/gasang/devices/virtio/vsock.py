"""The virtio socket device (virtio 1.2, section 5.10): streams between programs in the guest and on the host, without a network.

The host's side is given by `accept`, which is asked for a `Peer` when the guest connects to a port, and by `connect`. A guest that takes
no packets but makes us owe it some is not served any further (5.10.6.1.2): what we keep for it has bounds.

A restored guest's connections are gone, and it is told so; it then reads its context ID anew. Until it has returned the event's buffer it
may take a new connection for one of those, so ours wait until then. A driver that gives no buffers for events is not waited for.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from gasang.core.errors import StateError
from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import Chain, QueueError, Virtqueue, gather, scatter, split
from gasang.devices.virtio.vsock_packet import (
    HEADER_SIZE,
    HOST,
    STREAM,
    TRANSPORT_RESET,
    Operation,
    Packet,
    unpack,
)
from gasang.devices.virtio.vsock_stream import ROOM, Address, Peer, Say, Stream

RECEIVE, TRANSMIT, EVENT = range(3)
OWED_LIMIT = 64
"""Packets that the guest has made us owe it, beyond which its own are left waiting."""
STREAMS_LIMIT = 1024
FIRST_PORT = 1 << 30
"""The first of the host's ports for connections that it begins."""

_CONFIG = struct.Struct("<Q")
_EVENT = struct.Struct("<I")

Accept = Callable[[Stream], Peer | None]
"""Asked, with the bus lock held, when the guest connects to `stream.address.host_port`: None refuses."""


class VirtioVsock:
    """The device of the guest with context ID `cid` (3 or more)."""

    device_id: int = 19
    features: int = 1 << 0
    queue_sizes: Sequence[int] = (128, 128, 8)

    def __init__(self, cid: int, accept: Accept) -> None:
        self.cid = cid
        self._accept = accept
        self._link: Link | None = None
        self._streams: dict[Address, Stream] = {}
        self._owed: deque[tuple[Address, Say]] = deque()
        self._next_port = FIRST_PORT
        self._restored = False
        self._told: int | None = None
        self._held: list[Address] = []
        self._delivering = False

    # The host's side; any thread.

    def connect(self, port: int, peer: Peer) -> Stream:
        """Begin a connection to a port of the guest: the peer hears `opened`, or `closed` where nobody listens there.

        Raises StateError while no driver in the guest serves the device.
        """
        made: list[Stream] = []

        def job() -> None:
            stream = self._new(Address(self._free_port(port), port))
            stream.peer = peer
            if self._told is None:
                self._owe(stream.address, Operation.REQUEST)
            else:
                self._held.append(stream.address)
            made.append(stream)

        self._serve(job)
        if not made:
            raise StateError("the guest's sockets", "no driver in the guest serves them", "wait until it has booted")
        return made[0]

    def _free_port(self, guest_port: int) -> int:
        while Address(self._next_port, guest_port) in self._streams:
            self._next_port += 1
        port, self._next_port = self._next_port, self._next_port + 1
        if self._next_port > 0xFFFF_FFFE:
            self._next_port = FIRST_PORT
        return port

    def _serve(self, job: Callable[[], None]) -> None:
        """Run a job under the bus lock, then give the guest what there is for it."""
        link = self._link
        if link is None:
            return

        def whole() -> None:
            job()
            self._deliver()

        link.serve(whole)

    def break_off(self) -> None:
        """End every connection, and tell the guest: it is a twin of the machine that had them."""

        def job() -> None:
            self._forget_all()
            self._restored, self._told = True, None
            self._tell_reset()

        self._serve(job)

    # The device's side; the bus lock is held.

    def config(self) -> bytes:
        """The structure virtio_vsock_config (5.10.4)."""
        return _CONFIG.pack(self.cid)

    def start(self, link: Link) -> None:
        """Serve what is waiting already."""
        self._link = link
        for index in (EVENT, TRANSMIT, RECEIVE):
            self.notify(index)

    def notify(self, index: int) -> None:
        """Buffers arrived."""
        if index == EVENT:
            self._hear_of_reset()
            self._tell_reset()
            self._deliver()
        else:
            self._collect()
            self._deliver()
            self._collect()  # what was left while we owed too much
            self._deliver()

    def reset(self) -> None:
        """The driver has gone, and every connection with it."""
        self._link, self._told = None, None
        self._restored = False
        self._forget_all()

    def save(self) -> State:
        """Nothing but the version: connections do not outlive a restore."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """The guest is told that its connections are gone."""
        check_version(state, "virtio-vsock", 1)
        self._forget_all()
        self._restored, self._told = True, None

    def _forget_all(self) -> None:
        streams = list(self._streams.values())
        self._streams.clear()
        self._owed.clear()
        self._held.clear()
        for stream in streams:
            _end(stream)

    def _tell_reset(self) -> None:
        link = self._link
        if link is None or not self._restored:
            return
        queue = link.queues[EVENT]
        chain = queue.pop()
        if chain is not None:
            self._restored, self._told = False, queue.added()
            queue.push(chain, scatter(link.memory, chain.writable, _EVENT.pack(TRANSPORT_RESET)))
            link.used(queue)

    def _hear_of_reset(self) -> None:
        """The driver returns the event's buffer when it has dropped its connections: then ours may begin."""
        if self._link is None or self._told in (None, self._link.queues[EVENT].added()):
            return
        self._told = None
        for address in self._held:
            self._owe(address, Operation.REQUEST)
        self._held.clear()

    # To the guest.

    def _deliver(self) -> None:
        """Fill the guest's buffers: first what is owed, then of each connection in turn."""
        link = self._link
        if link is None or self._delivering:  # a peer has given more in the middle of it: it is looked at before that ends
            return
        self._delivering = True
        try:
            self._fill(link, link.queues[RECEIVE])
        finally:
            self._delivering = False
        link.used(link.queues[RECEIVE])

    def _fill(self, link: Link, queue: Virtqueue) -> None:
        ready: deque[Stream] = deque()
        while True:
            if not self._owed and not ready:
                ready.extend(stream for stream in self._streams.values() if stream.next_ready())
                if not ready:
                    return
            chain = queue.pop()
            if chain is None:
                return
            room = chain.writable_length() - HEADER_SIZE
            if room < 1:
                raise QueueError("a receive buffer without room for a packet")
            stream = None if self._owed else ready.popleft()
            address, say = self._owed.popleft() if stream is None else (stream.address, stream.next_packet(room))
            data = self._packet(address, say)
            scatter(link.memory, chain.writable, data)
            queue.push(chain, len(data))
            if stream is not None:
                stream.next_done()

    def _packet(self, address: Address, say: Say) -> bytes:
        stream = self._streams.get(address)
        room, taken = stream.counters if stream is not None else (0, 0)
        header = Packet(
            HOST, self.cid, address.host_port, address.guest_port, len(say.content), STREAM, say.operation, say.flags, room, taken
        )
        return header.pack() + say.content

    def _owe(self, address: Address, operation: Operation) -> None:
        self._owed.append((address, Say(operation)))

    # From the guest.

    def _collect(self) -> None:
        link = self._link
        if link is None:
            return
        queue = link.queues[TRANSMIT]
        while len(self._owed) < OWED_LIMIT and (chain := queue.pop()) is not None:
            self._take(link, chain)
            queue.push(chain, 0)
        link.used(queue)

    def _take(self, link: Link, chain: Chain) -> None:
        if chain.readable_length() < HEADER_SIZE:
            raise QueueError("a socket packet without its header")
        head, rest = split(chain.readable, HEADER_SIZE)
        packet = unpack(gather(link.memory, head))
        if packet.target_cid != HOST or packet.source_cid != self.cid:
            return  # nobody else is reachable through this device
        address = Address(packet.target_port, packet.source_port)
        stream = self._streams.get(address)
        content, _ = split(rest, packet.length)
        whole = sum(length for _, length in content) == packet.length
        handler = self._HANDLERS.get(packet.operation) if packet.kind == STREAM and whole else None
        if packet.operation == Operation.REQUEST and handler is not None and stream is None:
            self._requested(address, packet)
        elif stream is None:
            if packet.operation != Operation.RST:
                self._owe(address, Operation.RST)
        elif handler is None or not handler(self, stream, packet, partial(gather, link.memory, content)):
            self._drop(stream, tell=packet.operation != Operation.RST)

    def _requested(self, address: Address, packet: Packet) -> None:
        stream = self._new(address) if len(self._streams) < STREAMS_LIMIT else None
        if stream is not None:
            stream.guest_credit(packet)
            stream.peer = self._accept(stream)
        if stream is None or stream.peer is None:
            self._streams.pop(address, None)
            self._owe(address, Operation.RST)
            return
        stream.established = True
        self._owe(address, Operation.RESPONSE)
        stream.peer.opened()

    def _new(self, address: Address) -> Stream:
        stream = Stream(address, self._serve, partial(self._drop, silent=True))
        self._streams[address] = stream
        return stream

    def _drop(self, stream: Stream, *, tell: bool = True, silent: bool = False) -> None:
        """A connection's end. `tell`: the guest is told; `silent`: the peer is not."""
        self._streams.pop(stream.address, None)
        if stream.address in self._held:  # the guest has not heard of it yet
            self._held.remove(stream.address)
        elif tell:
            self._owe(stream.address, Operation.RST)
        if silent:
            stream.peer = None
        _end(stream)

    # What a packet asks for, one function an operation: whether the connection goes on.

    def _responded(self, stream: Stream, packet: Packet, content: Callable[[], bytes]) -> bool:
        if stream.established:
            return False
        stream.guest_credit(packet)
        stream.established = True
        if stream.peer is not None:
            stream.peer.opened()
        return True

    def _ended(self, stream: Stream, packet: Packet, content: Callable[[], bytes]) -> bool:
        return False

    def _shut(self, stream: Stream, packet: Packet, content: Callable[[], bytes]) -> bool:
        stream.guest_credit(packet)
        return not stream.guest_shuts(packet.flags)

    def _sent(self, stream: Stream, packet: Packet, content: Callable[[], bytes]) -> bool:
        stream.guest_credit(packet)
        return packet.length <= ROOM and stream.guest_sends(content())

    def _credited(self, stream: Stream, packet: Packet, content: Callable[[], bytes]) -> bool:
        stream.guest_credit(packet)
        return True

    def _asked(self, stream: Stream, packet: Packet, content: Callable[[], bytes]) -> bool:
        stream.guest_credit(packet)
        if stream.established:
            self._owe(stream.address, Operation.CREDIT_UPDATE)
        return stream.established

    _HANDLERS: ClassVar[Mapping[int, Callable[[VirtioVsock, Stream, Packet, Callable[[], bytes]], bool]]] = {
        Operation.REQUEST: _ended,  # of a connection that is there
        Operation.RESPONSE: _responded,
        Operation.RST: _ended,
        Operation.SHUTDOWN: _shut,
        Operation.RW: _sent,
        Operation.CREDIT_UPDATE: _credited,
        Operation.CREDIT_REQUEST: _asked,
    }


def _end(stream: Stream) -> None:
    stream.gone = True
    if stream.peer is not None:
        stream.peer.closed()
