"""A DHCP server for IPv4 (RFC 2131), whose clients are on its own cable: a message's bytes in, the answer's bytes out. No I/O.

Options: RFC 2132, and RFC 3442. Relays are not served: what has come through one is not answered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gasang.network.dhcp.leases import SECONDS, Leases

CLIENT, SERVER = 68, 67
_FIXED: Final = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE: Final = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _DECLINE, _ACK, _NAK, _RELEASE, _INFORM = 1, 2, 3, 4, 5, 6, 7, 8
_MASK, _ROUTER, _RESOLVERS, _NAME, _MTU, _WANTED, _LEASE, _KIND, _SERVER, _RENEW, _REBIND, _CLIENT = (
    1,
    3,
    6,
    12,
    26,
    50,
    51,
    53,
    54,
    58,
    59,
    61,
)
_ETHERNET: Final = 1
_ROUTES: Final = 121
_LONGEST_IDENTIFIER: Final = 64
_NONE: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Offer:
    """What clients are told beside their address; addresses are packed. `server` is who we are, `mask` the subnet's."""

    server: bytes
    mask: bytes
    routers: tuple[bytes, ...] = ()
    resolvers: tuple[bytes, ...] = ()
    mtu: int = 1500
    name: str = ""
    routes: tuple[tuple[bytes, int, bytes], ...] = ()
    """Network, bits of its prefix, router (0.0.0.0: on the cable); clients that know these take no `routers` (RFC 3442)."""

    def packed_routes(self) -> bytes:
        """As the option has them: of each network the bytes that its prefix touches."""
        return b"".join(bytes((bits,)) + network[: (bits + 7) // 8] + router for network, bits, router in self.routes)


@dataclass(slots=True)
class _Message:
    transaction: int
    flags: int
    current: bytes
    hardware: bytes
    options: dict[int, bytes]
    kind: int
    client: bytes

    @property
    def wanted(self) -> bytes:
        return self.options.get(_WANTED, _NONE)


class Server4:
    """Gives out the addresses of `leases`."""

    def __init__(self, offer: Offer, leases: Leases) -> None:
        self._offer = offer
        self._leases = leases

    def answer(self, data: bytes, mac: bytes, now: float) -> bytes | None:
        """What is answered to a message of the card `mac`; None: nothing."""
        message = _read(data, mac)
        if message is None or message.options.get(_SERVER, self._offer.server) != self._offer.server:
            return None
        if message.kind == _DISCOVER:
            address = self._leases.offer(message.client, mac, message.wanted, now)
            return None if address is None else self._reply(message, _OFFER, address)
        if message.kind == _REQUEST:
            return self._requested(message, mac, now)
        if message.kind == _DECLINE:
            self._leases.decline(message.client, message.wanted, now)
        elif message.kind == _RELEASE:
            self._leases.release(message.client, message.current)
        elif message.kind == _INFORM:
            return self._reply(message, _ACK, _NONE)
        return None

    def _requested(self, message: _Message, mac: bytes, now: float) -> bytes | None:
        """RFC 2131, 4.3.2: after an offer, after a restart, or to keep what it has."""
        address = message.wanted if any(message.wanted) else message.current
        if not any(address):
            return None
        known = self._leases.of(message.client, mac, now)
        if known is None and _SERVER not in message.options and not self._is_near(address):
            return self._reply(message, _NAK, _NONE)
        if self._leases.bind(message.client, mac, address, now):
            return self._reply(message, _ACK, address)
        return self._reply(message, _NAK, _NONE)

    def _is_near(self, address: bytes) -> bool:
        """Whether it is of the subnet; a client that is not was on another cable before."""
        mask, ours = int.from_bytes(self._offer.mask, "big"), int.from_bytes(self._offer.server, "big")
        return not (int.from_bytes(address, "big") ^ ours) & mask

    def _reply(self, message: _Message, kind: int, address: bytes) -> bytes:
        offer = self._offer
        current = message.current if kind == _ACK else _NONE
        names = (message.hardware, b"", b"", _COOKIE)
        fixed = _FIXED.pack(2, _ETHERNET, 6, 0, message.transaction, 0, message.flags, current, address, offer.server, _NONE, *names)
        options = [(_KIND, bytes((kind,))), (_SERVER, offer.server)]
        if kind != _NAK:
            told = [(_MASK, offer.mask), (_ROUTER, b"".join(offer.routers)), (_RESOLVERS, b"".join(offer.resolvers))]
            told += [(_ROUTES, offer.packed_routes()), (_MTU, offer.mtu.to_bytes(2, "big")), (_NAME, offer.name.encode()[:63])]
            options += [(number, value) for number, value in told if value]
        if any(address):
            times = ((_LEASE, SECONDS), (_RENEW, SECONDS // 2), (_REBIND, SECONDS * 7 // 8))
            options += [(number, seconds.to_bytes(4, "big")) for number, seconds in times]
        return fixed + b"".join(bytes((number, len(value))) + value for number, value in options) + b"\xff"


def _read(data: bytes, mac: bytes) -> _Message | None:
    """A client's message; None for what is none, or has come through a relay."""
    if len(data) < _FIXED.size:
        return None
    operation, hardware_kind, size, _, transaction, _, flags, current, _, _, relay, hardware, _, _, cookie = _FIXED.unpack_from(data)
    if (operation, hardware_kind, size, cookie) != (1, _ETHERNET, 6, _COOKIE) or hardware[:6] != mac or any(relay):
        return None
    options = dict(options_of(data[_FIXED.size :]))
    kind, addresses = options.get(_KIND, b""), [options[number] for number in (_WANTED, _SERVER) if number in options]
    if len(kind) != 1 or any(len(address) != 4 for address in addresses):
        return None
    identifier = options.get(_CLIENT, b"")
    client = identifier if 2 <= len(identifier) <= _LONGEST_IDENTIFIER else mac
    return _Message(transaction, flags, current, hardware, options, kind[0], client)


def options_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """RFC 2132, section 2; what is cut off is passed over."""
    at = 0
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        if at + 1 >= len(data) or at + 2 + data[at + 1] > len(data):
            return
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
