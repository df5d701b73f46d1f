"""What a tunnel to other hosts is asked to be: the network's number, this host's port, the peers. tunnel.py says what passes it."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from gasang.core.errors import GasangError, PermissionDeniedError, StateError, UnsupportedError, UsageError
from gasang.network.switch.state import PEERS

PORT: Final = 4789
"""RFC 7348, section 5."""
MOST: Final = (1 << 24) - 1
OVERHEAD: Final = 70
"""Bytes around a frame on its way: Ethernet's 14, which are no part of an MTU, VXLAN's 8, UDP's 8, IPv6's 40 (of IPv4 20)."""
_VALID: Final = 0x08
_BUFFER: Final = 4 << 20
_HINT: Final = "write it like 192.0.2.7, 192.0.2.7:4789 or [2001:db8::7]:4789"


@dataclass(frozen=True, slots=True)
class Vxlan:
    """`peers`: address and port of each. One host of several on a network names all of the others."""

    vni: int
    peers: tuple[tuple[str, int], ...]
    port: int = PORT

    def __post_init__(self) -> None:
        if not 0 <= self.vni <= MOST:
            raise UsageError(f"VXLAN {self.vni}", f"a network's number is from 0 to {MOST}", "write it like 42")
        if not 1 <= len(self.peers) <= PEERS:
            raise UsageError(
                f"VXLAN {self.vni}", f"it has {len(self.peers)} peers, and not 1 to {PEERS}", "name the other hosts, --peer each"
            )

    @property
    def family(self) -> int:
        """AF_INET where no peer has an address of IPv6."""
        return socket.AF_INET6 if any(":" in address for address, _ in self.peers) else socket.AF_INET

    def tunnel(self, family: int, aging: int) -> Any:
        """The state.Tunnel for a socket of that family; stations are forgotten after `aging` nanoseconds."""
        from gasang.native import ctype_of
        from gasang.network.switch import state

        made: Any = ctype_of(state.Tunnel)()
        made.header = int.from_bytes(struct.pack(">II", _VALID << 24, self.vni << 8), "little")
        made.vni, made.aging, made.count = self.vni, aging, len(self.peers)
        for at, (address, port) in enumerate(self.peers):
            name = _name(family, address, port)
            made.peers[at].size = len(name)
            for number, word in enumerate(struct.unpack("=4Q", name.ljust(32, b"\0"))):
                made.peers[at].name[number] = word
        return made


def peers_of(texts: Iterable[str], port: int = PORT) -> tuple[tuple[str, int], ...]:
    """ADDRESS or ADDRESS:PORT each, one of IPv6 in brackets where a port follows; without one it is `port`. Raises UsageError."""
    return tuple(_peer(text, port) for text in texts)


def vni_of(text: str) -> int:
    """A network's number. Raises UsageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= MOST):
        raise UsageError(f"VXLAN {text[:20]!r}", f"it is no number from 0 to {MOST}", "write it like 42")
    return int(text)


def port_of(text: str) -> int:
    """A port of UDP. Raises UsageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535):
        raise UsageError(f"port {text[:20]!r}", "it is no number from 1 to 65535", "write it like 4789")
    return int(text)


def listening(vxlan: Vxlan) -> int:
    """The socket of UDP by which this host is on that network, in the thread's network namespace; the caller's to close.

    Raises UsageError where this host is its own peer, StateError where the port is taken, PermissionDeniedError, UnsupportedError,
    GasangError.
    """
    family = vxlan.family
    subject = f"VXLAN {vxlan.vni}"
    try:
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise UnsupportedError(subject, f"this host lacks its sockets ({error.strerror})", "use peers with addresses of IPv4") from error
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        made.bind(("::" if family == socket.AF_INET6 else "", vxlan.port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise StateError(subject, f"port {vxlan.port} of UDP is taken", "choose another one on all hosts, with --vxlan-port") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermissionDeniedError(subject, f"port {vxlan.port} is for root", "choose one above 1023, with --vxlan-port") from error
        raise GasangError(subject, f"its socket cannot be made ({error.strerror})", "choose another port, with --vxlan-port") from error
    own = next((address for address, port in vxlan.peers if port == vxlan.port and _is_here(address)), None)
    if own is not None:  # it would hear itself, and believe that all of its stations are elsewhere
        made.close()
        raise UsageError(f"peer {own}", "that is this host itself", "name the other hosts alone")
    return made.detach()


def _is_here(address: str) -> bool:
    """Whether an address is this host's: nobody else's can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.bind((address, 0))
        except OSError:
            return False
    return True


def _name(family: int, address: str, port: int) -> bytes:
    """A struct sockaddr_in, or sockaddr_in6 (RFC 3493, 3.3 and 3.7)."""
    packed = ip_address(address).packed
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack(">H", port) + packed + bytes(8)
    if len(packed) == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    return struct.pack("=H", family) + struct.pack(">HI", port, 0) + packed + bytes(4)


def _peer(text: str, port: int) -> tuple[str, int]:
    host, number = text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or rest[:1] not in ("", ":"):
            raise UsageError(f"peer {text[:60]!r}", "it is no address", _HINT)
        number = rest[1:]
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    try:
        address = ip_address(host)
    except ValueError:
        raise UsageError(f"peer {text[:60]!r}", "it is no address", _HINT) from None
    if address.is_multicast or address.is_unspecified or "%" in host:
        raise UsageError(f"peer {text[:60]!r}", "it is not one host's address", _HINT)
    return str(address), port_of(number) if number else port
