"""What a guest on its own cable is answered that asks who it is: DHCP for both families, and router advertisements. Frames in, frames out.

The guest is known, and so is all that it may be told; nobody else is on the cable.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import Final

from gasang.network import guests
from gasang.network.dhcp import v4, v6
from gasang.network.dhcp.leases import Leases
from gasang.network.user import packets
from gasang.network.user.checksum import checksum, pseudo
from gasang.network.user.packets import ETHERNET, HEADER, ICMPV6, IPV4, IPV6, UDP, Packet

_CHECKED: Final = bytes((packets.NEEDS_CHECKSUM,)) + bytes(HEADER - 1)
"""A checksum that the guest left to its card is not there yet."""
_EVERYBODY: Final = b"\xff" * 6
_EVERYWHERE: Final = b"\xff" * 4
_ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
_ALL_NODES_MAC: Final = b"\x33\x33\0\0\0\1"
_SOLICITATION, _ADVERTISEMENT, _HOPS = 133, 134, 255
_LIFETIME: Final = 9000
_FOREVER: Final = 0xFFFFFFFF
_MANAGED, _ON_LINK = 0xC0, 0x80
_CURRENT: Final = slice(12, 16)
"""Where a message of DHCP has the address that its client uses."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who a guest is. Addresses carry their prefix, gateways do not, "" where there is none; `router` is the bridge's hardware address."""

    mac: bytes
    router: bytes
    ipv4: str = ""
    gateway4: str = ""
    ipv6: str = ""
    gateway6: str = ""
    name: str = ""
    mtu: int = 1500


class Answering:
    """The servers of one guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._link_local = b"\xfe\x80" + bytes(6) + _eui64(guest.router)
        server = ip_interface(guests.SERVER).packed
        own4, own6 = ([ip_interface(text).packed] if text else [] for text in (guest.ipv4, guest.ipv6))
        routers = (ip_interface(guest.gateway4).packed,) if guest.gateway4 else ()
        mask = ip_network(guest.ipv4, strict=False).netmask.packed if guest.ipv4 else b""
        routes = ((server, 32, bytes(4)), *((bytes(4), 0, router) for router in routers))
        offer = v4.Offer(server, mask, routers, (server,), guest.mtu, guest.name, routes)
        self._server4 = v4.Server4(offer, Leases([], dict.fromkeys([guest.mac], own4[0]))) if own4 else None
        self._server6 = v6.Server6(guest.router, (), Leases([], dict.fromkeys([guest.mac], own6[0]))) if own6 else None
        self._address4 = server

    def answer(self, frame: bytes, now: float) -> list[bytes]:
        """Frames for the guest, if one of it is such a question; it has no virtio header in front, nor have they."""
        if len(frame) < ETHERNET or frame[6:12] != self._guest.mac:
            return []
        packet = packets.read(memoryview(_CHECKED + frame))
        if packet is None or packet.is_fragment or len(packet.payload) < 8:
            return []
        if packet.protocol == UDP:
            return self._datagram(packet, now)
        if packet.protocol == ICMPV6 and packet.payload[0] == _SOLICITATION and packet.hops == _HOPS and self._server6 is not None:
            return [self._advertisement()]
        return []

    def _datagram(self, packet: Packet, now: float) -> list[bytes]:
        ports, body = struct.unpack_from(">HH", packet.payload), bytes(packet.payload[8:])
        if len(packet.source) == 4 and ports == (v4.CLIENT, v4.SERVER) and self._server4 is not None:
            answer = self._server4.answer(body, packet.mac, now)
            if answer is None:
                return []
            current = answer[_CURRENT]
            to, mac = (current, packet.mac) if any(current) else (_EVERYWHERE, _EVERYBODY)
            return [self._sent(mac, IPV4, self._address4, to, v4.SERVER, v4.CLIENT, answer)]
        if len(packet.source) == 16 and ports == (v6.CLIENT, v6.SERVER) and self._server6 is not None:
            answer = self._server6.answer(body, packet.mac, now)
            return [] if answer is None else [self._sent(packet.mac, IPV6, self._link_local, packet.source, v6.SERVER, v6.CLIENT, answer)]
        return []

    def _sent(self, mac: bytes, kind: int, source: bytes, target: bytes, port: int, to: int, data: bytes) -> bytes:
        datagram = packets.datagram(source, port, target, to, data)
        front = packets.ethernet(mac, self._guest.router if kind == IPV6 else guests.SERVER_ADDRESS, kind)
        return front[HEADER:] + packets.ip_header(source, target, UDP, len(datagram)) + datagram

    def _advertisement(self) -> bytes:
        """RFC 4861, 4.2: the router, the prefix, that addresses are had by DHCP, and the MTU."""
        guest, subnet = self._guest, ip_network(self._guest.ipv6, strict=False)
        lifetime = _LIFETIME if guest.gateway6 else 0
        message = struct.pack(">BBHBBHII", _ADVERTISEMENT, 0, 0, 64, _MANAGED, lifetime, 0, 0)
        message += struct.pack(">BB6s", 1, 1, guest.router) + struct.pack(">BBHI", 5, 1, 0, guest.mtu)
        message += struct.pack(">BBBBIII16s", 3, 4, subnet.prefixlen, _ON_LINK, _FOREVER, _FOREVER, 0, subnet.network_address.packed)
        right = checksum(message, pseudo(self._link_local, _ALL_NODES, ICMPV6, len(message)))
        body = message[:2] + right.to_bytes(2, "big") + message[4:]
        front = packets.ethernet(_ALL_NODES_MAC, guest.router, IPV6)[HEADER:]
        return front + packets.ip_header(self._link_local, _ALL_NODES, ICMPV6, len(body), hops=_HOPS) + body


def _eui64(mac: bytes) -> bytes:
    """RFC 4291, appendix A."""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
