"""DHCP for the cable: IPv4 addresses (RFC 2131, 2132); for IPv6, whose addresses are advertised, the resolver (RFC 8415, 18.3.5).

Leases are few; who asks under ever new hardware addresses gets none once they are gone, and those that have one keep it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final

from gasang.network.user.checksum import Data
from gasang.network.user.plan import Places

CLIENT, SERVER, CLIENT6, SERVER6 = 68, 67, 546, 547
LEASES: Final = 16
SECONDS: Final = 86400
_FIXED: Final = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE: Final = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _DECLINE, _ACK, _NAK, _RELEASE, _INFORM = 1, 2, 3, 4, 5, 6, 7, 8
_MASK, _ROUTER, _NAMESERVERS, _WANTED, _LEASE, _KIND, _SERVER, _MTU = 1, 3, 6, 50, 51, 53, 54, 26
_INFORMATION_REQUEST, _REPLY = 11, 7
_CLIENT_ID, _SERVER_ID, _DNS_SERVERS = 1, 2, 23


class Leases:
    """Which hardware address has which address, from the plan's guest on upwards."""

    def __init__(self, places: Places) -> None:
        first = int.from_bytes(places.guest, "big")
        self._free = [IPv4Address(first + step).packed for step in reversed(range(LEASES))]
        self._held: dict[bytes, tuple[bytes, float]] = {}

    def take(self, mac: bytes, now: float) -> bytes | None:
        """The address of `mac`, a new one if it has none; None: there are no more."""
        for owner, (address, until) in list(self._held.items()):
            if until <= now and owner != mac:
                del self._held[owner]
                self._free.append(address)
        held = self._held.get(mac)
        if held is None and not self._free:
            return None
        address = held[0] if held else self._free.pop()
        self._held[mac] = address, now + SECONDS
        return address

    def release(self, mac: bytes) -> None:
        """It needs it no more."""
        held = self._held.pop(mac, None)
        if held is not None:
            self._free.append(held[0])


class Dhcp:
    """The server: a message's bytes in, the answer's bytes out."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._leases = Leases(places)

    def answer(self, data: Data, mac: bytes, now: float) -> bytes | None:
        """What is answered to a message of the card `mac`; None: nothing."""
        if len(data) < _FIXED.size:
            return None
        fields = _FIXED.unpack_from(data)
        if fields[0] != 1 or fields[1:3] != (1, 6) or fields[-1] != _COOKIE or fields[11][:6] != mac:
            return None
        options = dict(_options(bytes(data[_FIXED.size :])))
        kind = options.get(_KIND, b"")
        if kind == bytes((_RELEASE,)):
            self._leases.release(mac)
        if kind not in (bytes((_DISCOVER,)), bytes((_REQUEST,)), bytes((_INFORM,))):
            return None
        if options.get(_SERVER, self._places.gateway) != self._places.gateway:
            return None
        return self._lease(fields, options, kind[0], mac, now)

    def _lease(self, fields: tuple[object, ...], options: dict[int, bytes], kind: int, mac: bytes, now: float) -> bytes | None:
        client = fields[7]
        assert isinstance(client, bytes)
        if kind == _INFORM:
            return self._reply(fields, _ACK, bytes(4))
        address = self._leases.take(mac, now)
        if address is None:
            return None
        if kind == _DISCOVER:
            return self._reply(fields, _OFFER, address)
        wanted = options.get(_WANTED, client)
        return self._reply(fields, _ACK, address) if wanted == address else self._reply(fields, _NAK, bytes(4))

    def _reply(self, fields: tuple[object, ...], kind: int, address: bytes) -> bytes:
        gateway = self._places.gateway
        fixed = _FIXED.pack(2, 1, 6, 0, fields[4], 0, fields[6], bytes(4), address, gateway, bytes(4), fields[11], b"", b"", _COOKIE)
        options = [(_KIND, bytes((kind,))), (_SERVER, gateway)]
        if kind != _NAK:
            options += [(_MASK, self._places.subnet.netmask.packed), (_ROUTER, gateway), (_NAMESERVERS, self._places.nameserver)]
            options += [(_MTU, self._places.plan.mtu.to_bytes(2, "big"))]
        if any(address):
            options.append((_LEASE, SECONDS.to_bytes(4, "big")))
        return fixed + b"".join(bytes((number, len(value))) + value for number, value in options) + b"\xff"

    def answer6(self, data: Data, mac: bytes) -> bytes | None:
        """What is answered to a DHCPv6 message: to an Information-request, the resolver."""
        if len(data) < 4 or data[0] != _INFORMATION_REQUEST:
            return None
        options = dict(_options6(bytes(data[4:])))
        ours = struct.pack(">HH6s", 3, 1, self._places.mac)
        if options.get(_SERVER_ID, ours) != ours:
            return None
        told = [(_SERVER_ID, ours), (_DNS_SERVERS, self._places.nameserver6)]
        if _CLIENT_ID in options:
            told.append((_CLIENT_ID, options[_CLIENT_ID]))
        return bytes((_REPLY,)) + bytes(data[1:4]) + b"".join(struct.pack(">HH", key, len(value)) + value for key, value in told)


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
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


def _options6(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        key, size = struct.unpack_from(">HH", data, at)
        if at + 4 + size > len(data):
            return
        yield key, data[at + 4 : at + 4 + size]
        at += 4 + size
