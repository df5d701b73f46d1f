"""The cable's other end without its sockets: frames in, frames out, a clock that somebody tells.

What only concerns the cable (ARP, neighbour discovery, DHCP, echo of our own addresses) is answered here. The rest goes to three handlers:
TCP segments, UDP datagrams and ICMP echoes of guests, addressed to anybody. What is malformed or comes in another's name is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gasang.network.dhcp import v4, v6
from gasang.network.user import packets
from gasang.network.user.checksum import checksum, pseudo, total
from gasang.network.user.dhcp import server4, server6
from gasang.network.user.neighbours import BROADCAST, Neighbours
from gasang.network.user.packets import ARP, ETHERNET, HEADER, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP, Packet
from gasang.network.user.plan import Places
from gasang.network.user.reassembly import Reassembly
from gasang.network.user.tcp import segment as wire
from gasang.network.user.tcp.segment import Segment

LARGEST: Final = HEADER + ETHERNET + 4 + 65535
TAKES_CHECKSUM, TAKES_TSO4, TAKES_TSO6 = 1, 2, 4
"""What a guest takes, as TUNSETOFFLOAD has it: checksums left out, segments of IPv4 and IPv6 joined."""
JOINED: Final = 65000
_ECHO: Final = {ICMP: (8, 0), ICMPV6: (128, 129)}
_UNREACHABLE: Final = {ICMP: 3, ICMPV6: 1}
_DISCOVERY: Final = range(133, 137)
_GSO: Final = {4: 1, 16: 4}
PORT_UNREACHABLE: Final = {4: 3, 16: 4}
HOST_UNREACHABLE: Final = {4: 1, 16: 3}
NET_UNREACHABLE: Final = {4: 0, 16: 0}


class Handlers(Protocol):
    """Who carries what guests send."""

    def on_segment(self, packet: Packet, segment: Segment) -> None:
        """A TCP segment."""
        ...

    def on_datagram(self, packet: Packet, source: int, target: int, data: bytes) -> None:
        """A UDP datagram."""
        ...

    def on_echo(self, packet: Packet, identity: int, data: bytes) -> None:
        """An echo request to somebody outside; `data` begins behind the checksum."""
        ...


class Stack:
    """The end of one cable. `emit` takes a frame, in pieces, its virtio_net_hdr in front. `takes` is what the guest takes."""

    def __init__(self, places: Places, handlers: Handlers, emit: Callable[[list[bytes]], None]) -> None:
        self.places = places
        self.takes = 0
        self.neighbours = Neighbours(places)
        self._handlers = handlers
        self._emit = emit
        self._dhcp, self._dhcp6 = server4(places), server6(places)
        self._reassembly = Reassembly()
        self._number = 0

    def receive(self, frame: bytes, now: float) -> None:
        """A frame of the guest's, its virtio_net_hdr in front."""
        if not HEADER + ETHERNET <= len(frame) <= LARGEST:
            return
        view = memoryview(frame)
        to, kind = frame[HEADER : HEADER + 6], int.from_bytes(frame[HEADER + 12 : HEADER + 14], "big")
        if to != self.places.mac and not to[0] & 1:
            return
        if kind == ARP:
            for answer in self.neighbours.arp(view):
                self._emit([answer])
            return
        packet = packets.read(view)
        if packet is not None and packet.is_fragment:
            packet = self._reassembly.take(packet, now)
        if packet is not None:
            self._dispatch(packet, now)

    def _dispatch(self, packet: Packet, now: float) -> None:
        if not self.places.is_guests(packet.source):
            if any(packet.source) or packet.protocol not in (UDP, ICMPV6):
                return  # in another's name; who has no name yet asks for one by DHCP, or whether it is free
        elif packet.mac[0] & 1:
            return
        else:
            self.neighbours.learn(packet.source, packet.mac)
        if packet.protocol == TCP:
            self._segment(packet)
        elif packet.protocol == UDP:
            self._datagram(packet, now)
        elif packet.protocol == (ICMP if len(packet.source) == 4 else ICMPV6):
            self._message(packet)

    def _segment(self, packet: Packet) -> None:
        if packet.target[0] >= 0xE0 and (len(packet.target) == 4 or packet.target[0] == 0xFF):
            return
        segment = wire.read(packet.payload) if packet.checksum_is_right() else None
        if segment is not None:
            self._handlers.on_segment(packet, segment)

    def _datagram(self, packet: Packet, now: float) -> None:
        data = packet.payload
        if len(data) < 8 or ((any(data[6:8]) or len(packet.source) == 16) and not packet.checksum_is_right()):
            return
        source, target, length = (int.from_bytes(data[at : at + 2], "big") for at in (0, 2, 4))
        if not 8 <= length <= len(data):
            return
        body = bytes(data[8:length])
        if (source, target) == (v4.CLIENT, v4.SERVER) and len(packet.source) == 4:
            self._configure(body, packet.mac, now)
        elif (source, target) == (v6.CLIENT, v6.SERVER) and len(packet.source) == 16:
            if (answer := self._dhcp6.answer(body, packet.mac, now)) is not None:
                self.send_datagram(self.places.link_local, v6.SERVER, packet.source, v6.CLIENT, answer)
        elif any(packet.source):
            self._handlers.on_datagram(packet, source, target, body)

    def _configure(self, message: bytes, mac: bytes, now: float) -> None:
        answer = self._dhcp.answer(message, mac, now)
        if answer is not None:
            datagram = packets.datagram(self.places.gateway, v4.SERVER, b"\xff" * 4, v4.CLIENT, answer)
            header = packets.ip_header(self.places.gateway, b"\xff" * 4, UDP, len(datagram))
            self._emit([packets.ethernet(BROADCAST, self.places.mac, IPV4) + header + datagram])

    def _message(self, packet: Packet) -> None:
        """ICMP: neighbour discovery, echo. Errors that guests report are for nobody."""
        data = packet.payload
        is_right = total(data) == 0 if packet.protocol == ICMP else packet.checksum_is_right()
        if len(data) < 8 or not is_right:
            return
        if packet.protocol == ICMPV6 and data[0] in _DISCOVERY:
            for answer in self.neighbours.discover(packet):
                self._emit([answer])
        elif data[0] == _ECHO[packet.protocol][0] and any(packet.source):
            if packet.target in self.places.own:
                self.send_echo(packet.target, packet.source, bytes(data[4:]))
            else:
                self._handlers.on_echo(packet, int.from_bytes(data[4:6], "big"), bytes(data[4:]))

    # To the guest.

    def send_echo(self, source: bytes, target: bytes, data: bytes) -> None:
        """An echo reply; `data` begins behind the checksum."""
        protocol = ICMP if len(source) == 4 else ICMPV6
        self._send_message(source, target, bytes((_ECHO[protocol][1], 0)), data)

    def refuse(self, packet: Packet, code: int) -> None:
        """Say that a packet arrived nowhere, in the gateway's name (RFC 792, 4443)."""
        protocol = ICMP if len(packet.source) == 4 else ICMPV6
        ours = self.places.gateway if protocol == ICMP else self.places.gateway6
        quoted = packet.head
        self._send_message(ours, packet.source, bytes((_UNREACHABLE[protocol], code)), bytes(4) + quoted)

    def _send_message(self, source: bytes, target: bytes, kind: bytes, data: bytes) -> None:
        bare = kind + b"\0\0" + data
        more = pseudo(source, target, ICMPV6, len(bare)) if len(source) == 16 else 0
        protocol = ICMP if len(source) == 4 else ICMPV6
        self._send(source, target, protocol, kind + checksum(bare, more).to_bytes(2, "big") + data)

    def send_datagram(self, source: bytes, source_port: int, target: bytes, target_port: int, data: bytes) -> None:
        """A UDP datagram of at most 65507 bytes."""
        self._send(source, target, UDP, packets.datagram(source, source_port, target, target_port, data))

    def _send(self, source: bytes, target: bytes, protocol: int, payload: bytes) -> None:
        front = self._front(target)
        if front is not None:
            self._number = (self._number + 1) & 0xFFFFFFFF
            for packet in packets.fragments(source, target, protocol, payload, self.places.plan.mtu, self._number):
                self._emit([front, packet])

    def _front(self, target: bytes) -> bytes | None:
        """The Ethernet header for a guest; whoever has not been heard of is asked for, and what was to be sent is lost."""
        mac = self.neighbours.find(target)
        if mac is None:
            if len(target) == 4:
                self._emit([self.neighbours.ask(target)])
            return None
        return packets.ethernet(mac, self.places.mac, IPV4 if len(target) == 4 else IPV6)

    def largest(self, size: int) -> int:
        """The most bytes of TCP that a guest takes at once by addresses of `size` bytes; 0: no more than a segment."""
        wanted = TAKES_CHECKSUM | (TAKES_TSO4 if size == 4 else TAKES_TSO6)
        return JOINED if self.takes & wanted == wanted else 0

    def mss(self, size: int) -> int:
        """The TCP segment size that fits the cable."""
        return self.places.plan.mtu - (40 if size == 4 else 60)

    def send_segment(self, source: bytes, target: bytes, segment: Segment, options: bytes = b"") -> None:
        """A TCP segment, or, if it is larger than its `mss`, joined ones."""
        front = self._front(target)
        if front is None:
            return
        header, data = wire.header(segment, options), bytes(segment.payload)
        length = len(header) + len(data)
        ip = packets.ip_header(source, target, TCP, length, identification=self._number & 0xFFFF, place=0x4000)
        more = pseudo(source, target, TCP, length)
        if self.takes & TAKES_CHECKSUM:
            start = ETHERNET + len(ip)
            kind, size = (_GSO[len(target)], segment.mss) if len(data) > segment.mss else (0, 0)
            front = packets.virtio_header(kind, start + len(header), size, start, wire.CHECKSUM_AT) + front[HEADER:]
            field = more
        else:
            field = checksum(data, total(header) + more)
        header = header[: wire.CHECKSUM_AT] + field.to_bytes(2, "big") + header[wire.CHECKSUM_AT + 2 :]
        self._emit([front + ip + header, data])
