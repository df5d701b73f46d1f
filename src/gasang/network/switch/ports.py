"""Descriptors that carry frames, and what they may do in the switch.

Each message is a frame with a struct virtio_net_hdr_v1 in front: a tap (gasang.host.tap), one end of a cable whose other end is a virtual
machine's card (gasang.network.user.service.cable), or the end of a veth on this side, heard by a packet socket.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from gasang.core.errors import GasangError, PermissionDeniedError, UnsupportedError, UsageError
from gasang.network.switch.state import HEADER

_SOL_PACKET, _ADD_MEMBERSHIP, _VNET_HEADER, _QDISC_BYPASS, _IGNORE_OUTGOING, _VNET_HEADER_SIZE = 263, 1, 15, 20, 23, 24
_ALL: Final = 0x0003
_PROMISCUOUS: Final = struct.Struct("=iHH8s")
_BUFFER: Final = 4 << 20
_LAST_VLAN: Final = 4094
_ATTACH_FILTER: Final = 26
_LOAD, _MASK, _EQUALS, _RETURN = 0x20, 0x54, 0x15, 0x06
_TAG, _HAS_TAG = 0xFFFFF02C, 0xFFFFF030
"""Where a filter finds a packet's tag, and whether it has one (include/uapi/linux/filter.h)."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a port may do. Rates are bits a second (0: any), `latency` seconds, `loss` frames of a million that arrive.

    `vlan` is that of frames without a tag; `trunk` those whose frames bear one. A guarded port names its addresses: `mac` (6 bytes), `ipv4`
    and `ipv6` packed, empty for none. Isolated ports do not reach each other, nor do those that lead `outward`.
    """

    vlan: int = 0
    trunk: tuple[int, ...] = ()
    isolated: bool = False
    outward: bool = False
    mac: bytes = b""
    ipv4: bytes = b""
    ipv6: bytes = b""
    rate_in: int = 0
    rate_out: int = 0
    latency: float = 0.0
    loss: int = 0

    def __post_init__(self) -> None:
        if not all(0 <= number <= _LAST_VLAN for number in (self.vlan, *self.trunk)):
            raise UsageError("port of a switch", f"a VLAN is not between 0 and {_LAST_VLAN}", "choose another number")
        if len(self.mac) not in (0, 6) or len(self.ipv4) not in (0, 4) or len(self.ipv6) not in (0, 16):
            raise UsageError("port of a switch", "an address has not its length", "give 6, 4 and 16 bytes")
        if (self.ipv4 or self.ipv6) and not self.mac:
            raise UsageError("port of a switch", "a guard needs the hardware address", "give it too")
        if min(self.rate_in, self.rate_out) < 0 or not 0 <= self.latency <= 10 or not 0 <= self.loss <= 1_000_000:
            raise UsageError("port of a switch", "a rate, latency or loss is out of range", "latency is 10 s at most, loss a million")


def veth(name: str, vlan: int = 0) -> int:
    """A packet socket that is a veth's end: what its other end sends is read, what is written the other end gets; the caller's to close.

    The kernel takes tags off before they are read, so it is for ports of one VLAN: frames with the tag of another than `vlan` are not read.

    Raises PermissionDeniedError, UnsupportedError, GasangError.
    """
    try:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    except PermissionError as error:
        raise PermissionDeniedError(f"interface {name}", "packet sockets are not permitted", "run as root") from error
    try:
        index = socket.if_nametoindex(name)
        made.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
        made.setsockopt(_SOL_PACKET, _VNET_HEADER_SIZE, HEADER)
        made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        made.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        made.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS.pack(index, 1, 0, bytes(8)))
        made.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _filter(vlan))
        made.bind((name, _ALL))
    except OSError as error:
        made.close()
        subject, cause = f"interface {name}", f"it cannot be a port of a switch ({error.strerror})"
        if error.errno == errno.ENOPROTOOPT:
            raise UnsupportedError(subject, cause, "use Linux 6.6 or later") from error
        raise GasangError(subject, cause, "see that it is there") from error
    return made.detach()


@cache
def _steps(vlan: int) -> Any:
    """Classic BPF (packet(7)): frames without a tag, with that of the VLAN, and with a priority alone."""
    steps = [
        (_LOAD, 0, 0, _HAS_TAG), (_EQUALS, 4, 0, 0), (_LOAD, 0, 0, _TAG), (_MASK, 0, 0, 0xFFF), (_EQUALS, 1, 0, vlan),
        (_EQUALS, 0, 1, 0), (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0),
    ]  # fmt: skip
    return ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))


def _filter(vlan: int) -> bytes:
    """A struct sock_fprog."""
    steps = _steps(vlan)
    return struct.pack("@HP", (len(steps) - 1) // 8, ctypes.addressof(steps))
