"""Whether a machine speaks in its own name: its hardware address, its IPv4 address or none yet, its IPv6 address, a link-local one or none.

It is no router (RFC 4861, 4.2) and no DHCP server (RFC 2131, 4.1; RFC 8415, 7.2) either. IPv6's extension headers are walked, for what
hides behind them (RFC 7113).
"""

from __future__ import annotations

from gasang.native import boolean, native, ptr, u8, u32, u64
from gasang.network.switch.fields import be16, be32, be48, be64
from gasang.network.switch.state import Port

IP, ARP, IP6 = 0x0800, 0x0806, 0x86DD
UDP, ICMP6, FRAGMENT = 17, 58, 44
DHCP_SERVER, DHCP6_SERVER = 67, 547
ROUTER, NEIGHBOUR = 134, 136
_EXTENSIONS = 8


@native
def own_ipv4(p: ptr[Port], address: u32) -> boolean:
    """Its address, or none."""
    return address == 0 or address == p.ipv4


@native
def own_ipv6(p: ptr[Port], high: u64, low: u64) -> boolean:
    """Its address, a link-local one (fe80::/10), or none."""
    if high >> 54 == 0x3FA:
        return True
    return (high == 0 and low == 0) or (high == p.ipv6_high and low == p.ipv6_low)


@native
def honest_arp(p: ptr[Port], body: ptr[u8], size: u64) -> boolean:
    """RFC 826: the sender's two addresses."""
    return size >= 28 and be48(body + 8) == p.address and own_ipv4(p, be32(body + 14))


@native
def honest_ip(p: ptr[Port], body: ptr[u8], size: u64) -> boolean:
    """RFC 791, 3.1."""
    if size < 20 or not own_ipv4(p, be32(body + 12)):
        return False
    at = u64(body[0] & 15) * 4
    return not (body[9] == UDP and be16(body + 6) & 0x1FFF == 0 and size >= at + 2 and be16(body + at) == DHCP_SERVER)


@native
def honest_ip6(p: ptr[Port], body: ptr[u8], size: u64) -> boolean:
    """RFC 8200, 3 and 4."""
    if size < 40 or not own_ipv6(p, be64(body + 8), be64(body + 16)):
        return False
    following = u32(body[6])
    at: u64 = 40
    for _ in range(u32(_EXTENSIONS)):
        if following != 0 and following != 43 and following != 60 and following != FRAGMENT:
            break
        if size < at + 8:
            return True
        step = u64(8) if following == FRAGMENT else (u64(body[at + 1]) + 1) * 8
        following = u32(body[at])
        at += step
    if following == UDP:
        return size < at + 2 or be16(body + at) != DHCP6_SERVER
    if following != ICMP6 or size < at + 1:
        return True
    if u32(body[at]) == ROUTER:
        return False
    if u32(body[at]) == NEIGHBOUR:
        return size >= at + 24 and own_ipv6(p, be64(body + at + 8), be64(body + at + 16))
    return True


@native
def honest(p: ptr[Port], frame: ptr[u8], size: u64, inner: u64) -> boolean:
    """Whether a frame, whose content begins at `inner`, may come from a guarded port."""
    if be48(frame + 6) != p.address:
        return False
    kind = be16(frame + inner - 2)
    body = frame + inner
    left = size - inner
    if kind == ARP:
        return honest_arp(p, body, left)
    if kind == IP:
        return honest_ip(p, body, left)
    return honest_ip6(p, body, left) if kind == IP6 else True
