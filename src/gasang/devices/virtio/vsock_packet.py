"""Packets of the virtio socket device (virtio 1.2, section 5.10.6)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

HOST = 2
"""The host's context ID (5.10.4)."""
STREAM = 1
"""The type of a socket (5.10.6)."""
NO_RECEIVE, NO_SEND = 1, 2
"""Flags of SHUTDOWN: its sender takes no more, or sends no more (5.10.6.5)."""
TRANSPORT_RESET = 0
"""The event that all connections are gone (5.10.6.7)."""

_HEADER = struct.Struct("<QQIIIHHIII")
HEADER_SIZE = _HEADER.size
COUNTER = 0xFFFF_FFFF
"""Byte counters wrap there."""


class Operation(IntEnum):
    """What a packet says."""

    REQUEST = 1
    RESPONSE = 2
    RST = 3
    SHUTDOWN = 4
    RW = 5
    CREDIT_UPDATE = 6
    CREDIT_REQUEST = 7


class Packet(NamedTuple):
    """The structure virtio_vsock_hdr; sizes and counters in bytes."""

    source_cid: int
    target_cid: int
    source_port: int
    target_port: int
    length: int
    kind: int
    operation: int
    flags: int
    room: int
    """The sender's buffer (buf_alloc)."""
    taken: int
    """How much it has taken out of it since the connection began (fwd_cnt), modulo 2³²."""

    def pack(self) -> bytes:
        """The bytes of the header."""
        return _HEADER.pack(*self)


def unpack(data: bytes) -> Packet:
    """The header in 44 bytes."""
    return Packet(*_HEADER.unpack(data))
