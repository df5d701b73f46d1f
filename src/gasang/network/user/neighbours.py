"""Who on the cable has which hardware address: ARP (RFC 826), neighbour discovery and router advertisements (RFC 4861, 4862, 8106)."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Final

from gasang.network.user.checksum import checksum, pseudo
from gasang.network.user.packets import ARP, ETHERNET, HEADER, ICMPV6, IPV6, Packet, ethernet, ip_header
from gasang.network.user.plan import Places

BROADCAST: Final = b"\xff" * 6
_ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
_ALL_NODES_MAC: Final = b"\x33\x33\0\0\0\1"
_ARP: Final = struct.Struct(">HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT = 133, 134, 135, 136
_LIFETIME: Final = 9000
_FOREVER: Final = 0xFFFFFFFF
_MOST: Final = 64
_HOPS: Final = 255


class Neighbours:
    """The guest's addresses as its own packets told them, so many at most, and the answers to its questions about ours."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def learn(self, address: bytes, mac: bytes) -> None:
        """A packet came from there."""
        if self._known.get(address) != mac and not mac[0] & 1:
            self._known[address] = mac
            if len(self._known) > _MOST:
                self._known.popitem(last=False)

    def find(self, address: bytes) -> bytes | None:
        """The hardware address of one, if it is known."""
        return self._known.get(address)

    def ask(self, address: bytes) -> bytes:
        """A frame that asks who has an IPv4 address."""
        return self._arp(_REQUEST, BROADCAST, self._places.gateway, bytes(6), address)

    def arp(self, frame: memoryview) -> list[bytes]:
        """What is answered to an ARP frame: a request for an address of ours."""
        body = frame[HEADER + ETHERNET :]
        if len(body) < _ARP.size:
            return []
        hardware, protocol, hardware_size, size, operation, mac, sender, _, target = _ARP.unpack_from(body)
        if (hardware, protocol, hardware_size, size) != (1, 0x0800, 6, 4) or mac != frame[HEADER + 6 : HEADER + 12]:
            return []
        if self._places.is_guests(sender):
            self.learn(sender, mac)
        if operation != _REQUEST or target not in self._places.own or not (self._places.is_guests(sender) or sender == bytes(4)):
            return []
        return [self._arp(_REPLY, mac, target, mac, sender)]

    def _arp(self, operation: int, to: bytes, ours: bytes, mac: bytes, theirs: bytes) -> bytes:
        return ethernet(to, self._places.mac, ARP) + _ARP.pack(1, 0x0800, 6, 4, operation, self._places.mac, ours, mac, theirs)

    def discover(self, packet: Packet) -> list[bytes]:
        """What is answered to a message of neighbour discovery whose checksum is right. From afar there are none (RFC 4861, 6.1, 7.1)."""
        kind = packet.payload[0]
        if packet.hops != _HOPS or packet.payload[1]:
            return []
        if kind == ROUTER_SOLICITATION:
            return [self.advertise()]
        if kind != SOLICITATION or len(packet.payload) < 24:
            return []
        target = bytes(packet.payload[8:24])
        if target not in self._places.own:
            return []
        is_unicast = any(packet.source)
        flags = 0xE0 if is_unicast else 0xA0  # a router says so, was asked, and means it
        message = struct.pack(">BBHI16sBB6s", ADVERTISEMENT, 0, 0, flags << 24, target, 2, 1, self._places.mac)
        to, mac = (packet.source, packet.mac) if is_unicast else (_ALL_NODES, _ALL_NODES_MAC)
        return [self._message(mac, target, to, message)]

    def advertise(self) -> bytes:
        """The router, the prefix, the MTU and the resolver, for everybody on the cable."""
        places = self._places
        message = struct.pack(">BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, 64, 0x40, _LIFETIME, 0, 0)
        message += struct.pack(">BB6s", 1, 1, places.mac) + struct.pack(">BBHI", 5, 1, 0, places.plan.mtu)
        message += struct.pack(
            ">BBBBIII16s", 3, 4, places.prefix.prefixlen, 0xC0, _FOREVER, _FOREVER, 0, places.prefix.network_address.packed
        )
        message += struct.pack(">BBHI16s", 25, 3, 0, _LIFETIME, places.nameserver6)
        return self._message(_ALL_NODES_MAC, places.link_local, _ALL_NODES, message)

    def _message(self, mac: bytes, source: bytes, target: bytes, message: bytes) -> bytes:
        right = checksum(message, pseudo(source, target, ICMPV6, len(message)))
        header = ip_header(source, target, ICMPV6, len(message), hops=_HOPS)
        return ethernet(mac, self._places.mac, IPV6) + header + message[:2] + right.to_bytes(2, "big") + message[4:]
