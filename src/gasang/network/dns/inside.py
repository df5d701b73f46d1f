"""The server's sockets inside a machine's network namespace, at 127.0.0.11.

Why there and not at the bridge's gateway: programs (and their configuration files) know that address from Docker; the question's
socket tells which machine asks, so nobody can ask in another's name; and the host's port 53 and firewall stay untouched. The
sockets are bound to ports that the kernel chooses, and a rule in the namespace leads port 53 of that one address to them: so a machine may
run its own DNS server on port 53 of all addresses. Where the kernel has no nftables they are bound to port 53 itself.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import GasangError, StateError
from gasang.host import nftables as nft
from gasang.host.netlink import Message
from gasang.host.netns import entered
from gasang.network.dns.upstream import SERVER

_TABLE: Final = "gasang"
_PORT: Final = 53
_BACKLOG: Final = 64
_PROTOCOLS: Final = {socket.SOCK_DGRAM: 17, socket.SOCK_STREAM: 6}


@dataclass(frozen=True, slots=True)
class Sockets:
    """A UDP socket, and a TCP socket that listens; neither blocks."""

    datagrams: socket.socket
    connections: socket.socket

    def close(self) -> None:
        """Close both."""
        self.datagrams.close()
        self.connections.close()


def listen(namespace: int, address: str = SERVER) -> Sockets:
    """Sockets that get what is sent to 127.0.0.11 port 53 in the namespace of that descriptor, whose lo must be up.

    Another address is a guest's, whose namespace has no programs: there they are at port 53 itself. Raises StateError when the address
    cannot be had, PermissionDeniedError.
    """
    if address != SERVER:
        with entered(namespace):
            return _bind(_PORT, address)
    with entered(namespace), nft.Netfilter() as netfilter:
        if not netfilter.usable():
            return _bind(_PORT)
        sockets = _bind(0)
        try:
            netfilter.install(nft.IP, _TABLE, _rules(sockets))
        except GasangError:
            sockets.close()
            raise
        return sockets


def _bind(port: int, address: str = SERVER) -> Sockets:
    with contextlib.ExitStack() as stack:
        both = [socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) for kind in _PROTOCOLS]
        for each in both:
            stack.callback(each.close)
        try:
            for each in both:
                each.bind((address, port))
            both[1].listen(_BACKLOG)
        except OSError as error:
            raise StateError(f"address {address} of the machine", f"it cannot be had ({error.strerror})", "is its lo up?") from error
        stack.pop_all()
        return Sockets(*both)


def _rules(sockets: Sockets) -> list[Message]:
    address = socket.inet_aton(SERVER)
    messages = [nft.add_base_chain(nft.IP, _TABLE, "output", "nat", nft.OUTPUT, -100)]
    for each, protocol in ((sockets.datagrams, _PROTOCOLS[socket.SOCK_DGRAM]), (sockets.connections, _PROTOCOLS[socket.SOCK_STREAM])):
        expressions = [
            nft.payload(nft.NETWORK_HEADER, 16, 4),
            nft.compare(address),
            nft.meta(nft.META_PROTOCOL),
            nft.compare(bytes((protocol,))),
            nft.payload(nft.TRANSPORT_HEADER, 2, 2),
            nft.compare(struct.pack(">H", _PORT)),
            nft.load(address, 1),
            nft.load(struct.pack(">H", each.getsockname()[1]), 2),
            nft.destination_nat(nft.IP, 1, 2),
        ]
        messages.append(nft.add_rule(nft.IP, _TABLE, "output", *expressions))
    return messages
