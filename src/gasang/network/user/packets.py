"""IPv4 and IPv6 packets in Ethernet frames (RFC 894, 791, 2464, 8200): read, with what is no packet refused, and made.

In front of a frame stands a virtio_net_hdr of 12 bytes (virtio 1.2, section 5.1.6), as a tap with IFF_VNET_HDR has it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from gasang.network.user.checksum import Data, checksum, is_right, pseudo

HEADER: Final = 12
ETHERNET: Final = 14
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
NEEDS_CHECKSUM: Final = 1
TTL: Final = 64
_ERROR_KEEPS: Final = 8
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
_MOST_EXTENSIONS: Final = 8
_NO_OFFLOAD: Final = bytes(HEADER)
_V4: Final = struct.Struct(">BBHHHBBH4s4s")
_V6: Final = struct.Struct(">IHBB16s16s")
_VIRTIO: Final = struct.Struct("<BBHHHHH")


@dataclass(slots=True)
class Packet:
    """What one packet carries. `source` and `target` are 4 or 16 bytes; `mac` is the sender's hardware address.

    `is_checked`: the checksum inside was left out on the way (the sender's card was to do it), or is right already. `head` is what an ICMP
    error quotes: the IP header and the first bytes behind it. A fragment has `identification`, `offset` in bytes, and `more` to come.
    """

    mac: bytes
    source: bytes
    target: bytes
    protocol: int
    payload: Data
    head: bytes
    hops: int
    is_checked: bool = False
    identification: int = 0
    offset: int = 0
    more: bool = False

    @property
    def is_fragment(self) -> bool:
        """Whether it is only a part."""
        return self.more or self.offset > 0

    def checksum_is_right(self) -> bool:
        """Whether the checksum with the pseudo header, which TCP, UDP and ICMPv6 have, is right or was left out."""
        return self.is_checked or is_right(self.payload, pseudo(self.source, self.target, self.protocol, len(self.payload)))


def read(frame: memoryview) -> Packet | None:
    """The packet in a frame of at least HEADER + ETHERNET bytes; None: there is none, or not a valid one."""
    kind = int.from_bytes(frame[HEADER + 12 : HEADER + 14], "big")
    mac, body = bytes(frame[HEADER + 6 : HEADER + 12]), frame[HEADER + ETHERNET :]
    if kind == IPV4:
        return _read_v4(mac, body, is_checked=bool(frame[0] & NEEDS_CHECKSUM))
    return _read_v6(mac, body, is_checked=bool(frame[0] & NEEDS_CHECKSUM)) if kind == IPV6 else None


def _read_v4(mac: bytes, body: memoryview, *, is_checked: bool) -> Packet | None:
    if len(body) < _V4.size:
        return None
    version, _, length, identification, place, hops, protocol, _, source, target = _V4.unpack_from(body)
    size = (version & 15) * 4
    if version >> 4 != 4 or size < _V4.size or not size <= length <= len(body) or not is_right(body[:size]):
        return None
    more, offset = bool(place & 0x2000), (place & 0x1FFF) * 8
    head = bytes(body[: min(length, size + _ERROR_KEEPS)])
    return Packet(mac, source, target, protocol, body[size:length], head, hops, is_checked, identification, offset, more)


def _read_v6(mac: bytes, body: memoryview, *, is_checked: bool) -> Packet | None:
    if len(body) < _V6.size:
        return None
    first, length, protocol, hops, source, target = _V6.unpack_from(body)
    if first >> 28 != 6 or length > len(body) - _V6.size:
        return None
    head = bytes(body[: _V6.size + min(length, _ERROR_KEEPS)])
    packet = Packet(mac, source, target, protocol, body[_V6.size : _V6.size + length], head, hops, is_checked)
    return _without_extensions(packet)


def _without_extensions(packet: Packet) -> Packet | None:
    """RFC 8200, section 4. A fragment keeps what is behind its header for when it is whole (`extended`)."""
    for _ in range(_MOST_EXTENSIONS):
        if packet.protocol not in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION):
            return packet
        rest = packet.payload
        if len(rest) < 8:
            return None
        if packet.protocol == _FRAGMENT:
            place = int.from_bytes(rest[2:4], "big")
            packet.identification, packet.offset, packet.more = int.from_bytes(rest[4:8], "big"), place & 0xFFF8, bool(place & 1)
            packet.protocol, packet.payload = rest[0], rest[8:]
            if packet.is_fragment:
                return packet
            continue
        size = 8 * (rest[1] + 1)
        if size > len(rest) or (packet.protocol == _ROUTING and rest[3]):
            return None
        packet.protocol, packet.payload = rest[0], rest[size:]
    return None


def ethernet(target: bytes, source: bytes, kind: int) -> bytes:
    """A virtio header that asks for nothing, and an Ethernet header."""
    return _NO_OFFLOAD + target + source + kind.to_bytes(2, "big")


def ip_header(source: bytes, target: bytes, protocol: int, length: int, hops: int = TTL, identification: int = 0, place: int = 0) -> bytes:
    """In front of `length` bytes; `identification` and `place` (flags and offset) are for fragments of IPv4."""
    if len(source) == 16:
        return _V6.pack(0x60000000, length, protocol, hops, source, target)
    bare = _V4.pack(0x45, 0, 20 + length, identification, place, hops, protocol, 0, source, target)
    return bare[:10] + checksum(bare).to_bytes(2, "big") + bare[12:]


def fragments(source: bytes, target: bytes, protocol: int, payload: bytes, mtu: int, identification: int) -> list[bytes]:
    """Packets that carry a payload, each of `mtu` bytes at most: one, if it fits (RFC 791, section 3.2; RFC 8200, section 4.5)."""
    is_v6 = len(source) == 16
    if len(payload) + (40 if is_v6 else 20) <= mtu:
        return [ip_header(source, target, protocol, len(payload)) + payload]
    step = (mtu - (48 if is_v6 else 20)) & ~7
    made = []
    for offset in range(0, len(payload), step):
        piece = payload[offset : offset + step]
        more = offset + step < len(payload)
        if is_v6:
            inner = struct.pack(">BBHI", protocol, 0, offset | more, identification) + piece
            made.append(ip_header(source, target, _FRAGMENT, len(inner)) + inner)
        else:
            place = offset >> 3 | (0x2000 if more else 0)
            made.append(ip_header(source, target, protocol, len(piece), identification=identification & 0xFFFF, place=place) + piece)
    return made


def datagram(source: bytes, source_port: int, target: bytes, target_port: int, data: bytes) -> bytes:
    """UDP (RFC 768)."""
    length = 8 + len(data)
    ports = source_port.to_bytes(2, "big") + target_port.to_bytes(2, "big") + length.to_bytes(2, "big")
    right = checksum(ports + b"\0\0" + data, pseudo(source, target, UDP, length))
    return ports + right.to_bytes(2, "big") + data


def virtio_header(gso: int, header: int, size: int, start: int, offset: int) -> bytes:
    """One that leaves a checksum to the receiver: at `offset` behind `start`; `gso` 0, or the kind of segments of `size` bytes joined."""
    return _VIRTIO.pack(NEEDS_CHECKSUM, gso, header, size, start, offset, 0)
