"""What a guest is answered that looks for a router."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from gasang.network.dhcp.answering import Answering, Guest
from gasang.network.user import packets
from gasang.network.user.packets import HEADER, ICMPV6, IPV6

MAC, ROUTER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\x63"
KNOWN = Guest(MAC, ROUTER, "10.7.0.2/24", "10.7.0.1", "fd07::2/64", "fd07::1", "web")


def solicitation(hops: int = 255, source: str = "fe80::1") -> bytes:
    message, own, all_routers = struct.pack(">BBHI", 133, 0, 0, 0), ip_address(source).packed, ip_address("ff02::2").packed
    frame = packets.ethernet(b"\x33\x33\0\0\0\2", MAC, IPV6) + packets.ip_header(own, all_routers, ICMPV6, 8, hops=hops) + message
    return frame[HEADER:]


def test_a_router_is_advertised_and_that_addresses_are_managed() -> None:
    (frame,) = Answering(KNOWN).answer(solicitation(), 0.0)
    packet = packets.read(memoryview(bytes(HEADER) + frame))
    assert packet is not None
    assert packet.checksum_is_right()
    assert (packet.hops, str(ip_address(packet.source))) == (255, "fe80::ff:fe00:63")
    kind, _, _, _, flags, lifetime = struct.unpack_from(">BBHBBH", packet.payload)
    assert (kind, flags & 0x80, lifetime) == (134, 0x80, 9000)
    assert ip_address("fd07::").packed in bytes(packet.payload)


@pytest.mark.parametrize("frame", [b"", solicitation(hops=254), ROUTER + solicitation()[6:12].replace(MAC, ROUTER) + solicitation()[12:]])
def test_what_is_not_answered(frame: bytes) -> None:
    assert Answering(KNOWN).answer(frame, 0.0) == []
    assert Answering(Guest(MAC, ROUTER, "10.7.0.2/24")).answer(solicitation(), 0.0) == []
