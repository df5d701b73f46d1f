"""What a filter asks of a frame: whose it is, and for whom. No I/O; a frame is whatever somebody sent."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

IP, ARP, IP6 = 0x0800, 0x0806, 0x86DD
TAGS: Final = (0x8100, 0x88A8)
ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
_WITH_PORTS: Final = (TCP, UDP, SCTP)
_MOST_TAGS: Final = 2
_EXTENSIONS: Final = frozenset({0, 43, 60})
"""IPv6: hop-by-hop options, routing, destination options (RFC 8200, 4)."""
_FRAGMENT: Final = 44
_MOST_EXTENSIONS: Final = 8
_PORTS = struct.Struct(">HH")


@dataclass(slots=True)
class Facts:
    """Of a frame; what it does not have is empty, None, or -1. Addresses are packed; `vlan` is that of the outermost tag."""

    to: bytes
    source: bytes
    length: int
    kind: int = -1
    vlan: int = -1
    sender: bytes = b""
    target: bytes = b""
    protocol: int = -1
    source_port: int = -1
    target_port: int = -1


def facts(frame: bytes) -> Facts:
    """Those of a frame, or of what is left of one."""
    found = Facts(frame[:6], frame[6:12], len(frame))
    at = 12
    for _ in range(_MOST_TAGS + 1):
        if len(frame) < at + 2:
            return found
        found.kind = int.from_bytes(frame[at : at + 2], "big")
        if found.kind not in TAGS or len(frame) < at + 4:
            break
        found.vlan = found.vlan if found.vlan >= 0 else int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF
        at += 4
    at += 2
    if found.kind == IP:
        _ip(found, frame, at)
    elif found.kind == IP6:
        _ip6(found, frame, at)
    elif found.kind == ARP and len(frame) >= at + 28:
        found.sender, found.target = frame[at + 14 : at + 18], frame[at + 24 : at + 28]
    return found


def _ip(found: Facts, frame: bytes, at: int) -> None:
    """RFC 791, 3.1."""
    if len(frame) < at + 20:
        return
    found.sender, found.target, found.protocol = frame[at + 12 : at + 16], frame[at + 16 : at + 20], frame[at + 9]
    if not int.from_bytes(frame[at + 6 : at + 8], "big") & 0x1FFF:
        _ports(found, frame, at + 4 * (frame[at] & 15))


def _ip6(found: Facts, frame: bytes, at: int) -> None:
    """RFC 8200, 3 and 4."""
    if len(frame) < at + 40:
        return
    found.sender, found.target, following = frame[at + 8 : at + 24], frame[at + 24 : at + 40], frame[at + 6]
    at += 40
    for _ in range(_MOST_EXTENSIONS):
        if len(frame) < at + 8 or following not in (*_EXTENSIONS, _FRAGMENT):
            break
        first = following != _FRAGMENT or not int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF8
        at, following = at + (8 if following == _FRAGMENT else 8 * (frame[at + 1] + 1)), frame[at]
        if not first:
            found.protocol = following
            return
    found.protocol = following
    _ports(found, frame, at)


def _ports(found: Facts, frame: bytes, at: int) -> None:
    if found.protocol in _WITH_PORTS and len(frame) >= at + 4:
        found.source_port, found.target_port = _PORTS.unpack_from(frame, at)
