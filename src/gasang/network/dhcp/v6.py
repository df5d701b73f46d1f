"""A DHCPv6 server (RFC 8415), whose clients are on its own cable: a message's bytes in, the answer's bytes out. No I/O.

It has addresses to give (`leases`), or tells the resolvers alone, where addresses are advertised. Prefixes are not delegated; relays and
reconfiguration are not served.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gasang.network.dhcp.leases import SECONDS, Leases

CLIENT, SERVER = 546, 547
_SOLICIT, _ADVERTISE, _REQUEST, _CONFIRM, _RENEW, _REBIND, _REPLY, _RELEASE, _DECLINE, _INFORM = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
_CLIENT_ID, _SERVER_ID, _ASSOCIATION, _ADDRESS, _STATUS, _RAPID, _RESOLVERS = 1, 2, 3, 5, 13, 14, 23
_SUCCESS, _NO_ADDRESSES, _NO_BINDING, _NOT_ON_LINK = 0, 2, 3, 4
_OPTION: Final = struct.Struct(">HH")
_ASSOCIATION_HEAD: Final = struct.Struct(">4sII")
_ADDRESS_HEAD: Final = struct.Struct(">16sII")
_LONGEST_IDENTIFIER: Final = 130
"""RFC 8415, 11.1: a DUID is of 128 bytes and its type."""
_MOST_ASSOCIATIONS: Final = 4
_WANTS_US: Final = frozenset({_REQUEST, _RENEW, _RELEASE, _DECLINE})
"""They name their server; of the others some may not (16.2 to 16.12)."""
_NAMES_NOBODY: Final = frozenset({_SOLICIT, _CONFIRM, _REBIND})
_GIVES: Final = frozenset({_SOLICIT, _REQUEST, _RENEW, _REBIND})


@dataclass(slots=True)
class _Message:
    kind: int
    transaction: bytes
    client: bytes
    server: bytes
    rapid: bool = False
    associations: list[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=list)


class Server6:
    """The one on a cable whose hardware address is `mac`; addresses are packed. Without `leases` it gives none."""

    def __init__(self, mac: bytes, resolvers: tuple[bytes, ...], leases: Leases | None = None) -> None:
        self._identifier = struct.pack(">HH6s", 3, 1, mac)
        self._resolvers = resolvers
        self._leases = leases

    def answer(self, data: bytes, mac: bytes, now: float) -> bytes | None:
        """What is answered to a message of the card `mac`; None: nothing."""
        message = _read(data)
        if message is None or not self._is_ours(message):
            return None
        if message.kind == _INFORM:
            return self._reply(message, _REPLY, [])
        if self._leases is None or not message.client:
            return None
        if message.kind == _CONFIRM:
            known = self._leases.of(message.client, mac, now)
            asked = [address for _, addresses in message.associations for address in addresses]
            return (
                self._reply(message, _REPLY, [_status(_SUCCESS if all(address == known for address in asked) else _NOT_ON_LINK)])
                if asked
                else None
            )
        if message.kind in _GIVES:
            kind = _ADVERTISE if message.kind == _SOLICIT and not message.rapid else _REPLY
            given = [self._give(self._leases, message, each, mac, now) for each in message.associations]
            return self._reply(message, kind, [*given, *([_option(_RAPID, b"")] if message.rapid and kind == _REPLY else [])])
        if message.kind not in (_RELEASE, _DECLINE):
            return None
        for _, addresses in message.associations:
            for address in addresses:
                if message.kind == _RELEASE:
                    self._leases.release(message.client, address)
                else:
                    self._leases.decline(message.client, address, now)
        return self._reply(message, _REPLY, [_status(_SUCCESS)])

    def _is_ours(self, message: _Message) -> bool:
        if message.kind in _WANTS_US:
            return message.server == self._identifier
        return not message.server or (message.kind not in _NAMES_NOBODY and message.server == self._identifier)

    def _give(self, leases: Leases, message: _Message, asked: tuple[bytes, tuple[bytes, ...]], mac: bytes, now: float) -> bytes:
        """An association with its address; a client has one, whatever it calls it."""
        name, addresses = asked
        wanted = addresses[0] if addresses else bytes(16)
        if message.kind in (_RENEW, _REBIND) and leases.of(message.client, mac, now) is None:
            return _option(_ASSOCIATION, _ASSOCIATION_HEAD.pack(name, 0, 0) + _status(_NO_BINDING))
        address = leases.offer(message.client, mac, wanted, now)
        if address is None or name != message.associations[0][0]:
            return _option(_ASSOCIATION, _ASSOCIATION_HEAD.pack(name, 0, 0) + _status(_NO_ADDRESSES))
        if message.kind != _SOLICIT or message.rapid:
            leases.bind(message.client, mac, address, now)
        lease = _option(_ADDRESS, _ADDRESS_HEAD.pack(address, SECONDS, SECONDS))
        gone = [_option(_ADDRESS, _ADDRESS_HEAD.pack(other, 0, 0)) for other in addresses if other != address and message.kind != _SOLICIT]
        return _option(_ASSOCIATION, _ASSOCIATION_HEAD.pack(name, SECONDS // 2, SECONDS * 4 // 5) + lease + b"".join(gone))

    def _reply(self, message: _Message, kind: int, more: list[bytes]) -> bytes:
        told = [_option(_SERVER_ID, self._identifier)]
        if message.client:
            told.append(_option(_CLIENT_ID, message.client))
        if self._resolvers:
            told.append(_option(_RESOLVERS, b"".join(self._resolvers)))
        return bytes((kind,)) + message.transaction + b"".join(told + more)


def _read(data: bytes) -> _Message | None:
    if len(data) < 4:
        return None
    message = _Message(data[0], data[1:4], b"", b"")
    for number, value in options_of(data[4:]):
        if number == _CLIENT_ID:
            message.client = value
        elif number == _SERVER_ID:
            message.server = value
        elif number == _RAPID:
            message.rapid = True
        elif number == _ASSOCIATION and len(value) >= _ASSOCIATION_HEAD.size:
            inner = options_of(value[_ASSOCIATION_HEAD.size :])
            addresses = tuple(found[:16] for kind, found in inner if kind == _ADDRESS and len(found) >= _ADDRESS_HEAD.size)
            message.associations.append((value[:4], addresses))
    sound = len(message.client) <= _LONGEST_IDENTIFIER
    return message if sound and len(message.associations) <= _MOST_ASSOCIATIONS else None


def options_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """RFC 8415, 21.1; what is cut off is passed over."""
    at = 0
    while at + 4 <= len(data):
        number, size = _OPTION.unpack_from(data, at)
        if at + 4 + size > len(data):
            return
        yield number, data[at + 4 : at + 4 + size]
        at += 4 + size


def _option(number: int, value: bytes) -> bytes:
    return _OPTION.pack(number, len(value)) + value


def _status(code: int) -> bytes:
    return _option(_STATUS, code.to_bytes(2, "big"))
