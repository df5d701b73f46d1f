"""All TCP connections of a guest: who calls is connected outside first, and hears what the outside says.

There are so many at most, and so many that the outside has not answered: who floods us with SYNs gets no more of the host's sockets, but
its own oldest attempts back when those have waited for long enough.
"""

from __future__ import annotations

import errno
import secrets
import selectors
import socket
from time import monotonic
from typing import Final

from gasang.network.dns.client import Client
from gasang.network.dns.exchange import Asker
from gasang.network.loop import Loop
from gasang.network.ports import Held
from gasang.network.user.packets import Packet
from gasang.network.user.stack import HOST_UNREACHABLE, NET_UNREACHABLE, Stack
from gasang.network.user.stream import Stream, connecting
from gasang.network.user.tcp.connection import Connection, Ends, Phase
from gasang.network.user.tcp.segment import ACK, FIN, RST, SYN, WRAP, Segment

MOST: Final = 512
MOST_CONNECTING: Final = 64
"""Of the guest's calls that the outside has not answered; and of those from outside that the guest has not."""
MOST_CALLERS: Final = 256
"""Of those from outside: who floods a published port leaves the guest as many of its own."""
_PATIENCE: Final = 3.0
_DNS: Final = 53
_MOST_DNS: Final = 16
_FIRST_PORT, _LAST_PORT = 49152, 65535
_BURST: Final = 64
_UNREACHABLE: Final = {
    errno.EHOSTUNREACH: HOST_UNREACHABLE, errno.ENETUNREACH: NET_UNREACHABLE, errno.EACCES: HOST_UNREACHABLE,
    errno.EPERM: HOST_UNREACHABLE, errno.EADDRNOTAVAIL: NET_UNREACHABLE, errno.EAFNOSUPPORT: NET_UNREACHABLE,
}  # fmt: skip
"""What an ICMP error says of it; all else is a reset."""
Key = tuple[bytes, int, bytes, int]
"""The guest's address and port, and the other's."""


class Calls:
    """The table, as stack.Handlers has it for segments."""

    def __init__(self, loop: Loop, stack: Stack, asker: Asker) -> None:
        self.loop = loop
        self._stack = stack
        self._asker = asker
        self._machines = stack.places.plan.machines
        self._streams: dict[Key, Stream] = {}
        self._keys: dict[Stream, Key] = {}
        self._touched: set[Stream] = set()
        self._dns: set[Client] = set()
        self._held: list[Held] = []
        self._port = _FIRST_PORT + secrets.randbelow(_LAST_PORT - _FIRST_PORT)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._streams)

    def close(self) -> None:
        """Break all of them off, and close published ports."""
        for held in self._held:
            self.loop.selector.unregister(held.socket)
            held.socket.close()
        for stream in list(self._keys):
            stream.give_up()
        for client in list(self._dns):
            client.close()

    # The guest's segments.

    def on_segment(self, packet: Packet, segment: Segment) -> None:
        """One of them. Acknowledged in `rest`."""
        key = packet.source, segment.source, packet.target, segment.target
        stream = self._streams.get(key)
        opens = segment.flags & (SYN | ACK | RST) == SYN
        if stream is not None and opens and stream.is_settled:
            stream.end(breaks=False)
            stream = None
        if stream is not None:
            stream.take(segment)
            self._touched.add(stream)
        elif opens:
            self._begin(key, packet, segment)
        elif not segment.flags & RST:
            self._reset(key, segment)

    def rest(self) -> None:
        """There are no more segments for now."""
        while self._touched:
            self._touched.pop().settle()

    def _begin(self, key: Key, packet: Packet, syn: Segment) -> None:
        if not self._has_room():
            return
        try:
            outside, error = self._outside(packet.target, syn.target)
        except OSError as problem:
            self.refused(packet, syn, problem.errno or errno.ECONNREFUSED)
            return
        if error:
            outside.close()
            self.refused(packet, syn, error)
            return
        self._add(key, outside).begin(packet, syn)

    def _has_room(self) -> bool:
        """Whether one more may begin; who has waited for long makes room, or who is over."""
        waiting = [stream for stream in self._keys if stream.is_connecting]
        if len(waiting) >= MOST_CONNECTING * self._machines:
            if monotonic() - waiting[0].since < _PATIENCE:
                return False
            waiting[0].give_up()
        if len(self._keys) >= MOST * self._machines:
            over = next((stream for stream in self._keys if stream.is_settled), None)
            if over is None:
                return False
            over.end(breaks=False)
        return True

    def _outside(self, target: bytes, port: int) -> tuple[socket.socket, int]:
        """A socket on its way there. Raises OSError where nothing leads there."""
        if target in self._stack.places.nameservers and port == _DNS:
            return self._name_server(), 0
        address = self._stack.places.outside(target)
        if address is None or not port:
            raise OSError(errno.ECONNREFUSED, "nobody is there")
        return connecting((address, port))

    def _name_server(self) -> socket.socket:
        if len(self._dns) >= _MOST_DNS:
            raise OSError(errno.ECONNREFUSED, "too many at once")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._dns.add(Client(self._asker, theirs, self._dns.discard))
        return ours

    def _add(self, key: Key, outside: socket.socket) -> Stream:
        guest, guest_port, other, port = key
        ends = Ends(port, guest_port, self._stack.mss(len(guest)))

        def emit(segment: Segment, options: bytes) -> None:
            self._stack.send_segment(other, guest, segment, options)

        connection = Connection(ends, secrets.randbits(32), emit, lambda: self._stack.largest(len(guest)))
        stream = self._streams[key] = Stream(self, outside, connection)
        self._keys[stream] = key
        return stream

    # As the streams' owner.

    def gone(self, stream: Stream) -> None:
        """It is over."""
        self._streams.pop(self._keys.pop(stream))
        self._touched.discard(stream)

    def refused(self, packet: Packet, segment: Segment, reason: int) -> None:
        """Pass on what the outside says."""
        if reason in _UNREACHABLE:
            self._stack.refuse(packet, _UNREACHABLE[reason][len(packet.source)])
        else:
            self._reset((packet.source, segment.source, packet.target, segment.target), segment)

    def _reset(self, key: Key, segment: Segment) -> None:
        """RFC 9293, section 3.10.7.1."""
        guest, guest_port, other, port = key
        if segment.flags & ACK:
            made = Segment(port, guest_port, segment.acknowledgement, 0, RST, 0)
        else:
            end = segment.sequence + len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
            made = Segment(port, guest_port, 0, end & WRAP, RST | ACK, 0)
        self._stack.send_segment(other, guest, made)

    # Published ports.

    def publish(self, held: Held) -> None:
        """Lead those who call that port to the guest; its socket is ours."""
        self._held.append(held)
        self.loop.selector.register(held.socket, selectors.EVENT_READ, lambda _events: self._accept(held))

    def _accept(self, held: Held) -> None:
        for _ in range(_BURST):
            try:
                client, _address = held.socket.accept()
            except OSError:
                return
            places = self._stack.places
            port = self._free_port(held.port.machine_port)
            if port is None or not self._has_room_for_callers() or not self._has_room():
                client.close()
                continue
            client.setblocking(False)
            self._add((places.guest, held.port.machine_port, places.gateway, port), client).call()

    def _has_room_for_callers(self) -> bool:
        """Whether one more may call from outside; as for the guest's own calls."""
        callers = [stream for stream in self._keys if stream.is_from_outside]
        unanswered = [stream for stream in callers if stream.connection.phase is Phase.CALLING]
        if len(unanswered) >= MOST_CONNECTING:
            if monotonic() - unanswered[0].since < _PATIENCE:
                return False
            unanswered[0].give_up()
        return len(callers) < MOST_CALLERS or any(stream.is_settled for stream in callers)

    def _free_port(self, target: int) -> int | None:
        places = self._stack.places
        for _ in range(MOST * self._machines + 1):
            self._port = self._port + 1 if self._port < _LAST_PORT else _FIRST_PORT
            if (places.guest, target, places.gateway, self._port) not in self._streams:
                return self._port
        return None
