"""Rules at the ports of networks that have limits (limits.py): what of a machine's frames the bridge gets at all.

    table netdev gasang_TAG: a chain for each such cable, at the ingress of its end on the host

A chain belongs to one cable and names no other, so that what one network asks for costs the others nothing. Tags are kept to one VLAN by
rules, as not every kernel's bridges filter them. Frames of joined segments are one frame each.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from gasang.core.errors import UnsupportedError
from gasang.host import nftables as nft
from gasang.host.netlink import Message, NetlinkError
from gasang.network import names
from gasang.network.limits import MILLION, Limits

_IP, _ARP, _IP6, _TAG, _SERVICE_TAG = (value.to_bytes(2, "big") for value in (0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8))
_UDP, _ICMP6 = b"\x11", b"\x3a"
_DHCP_SERVER, _DHCP6_SERVER = (67).to_bytes(2, "big"), (547).to_bytes(2, "big")
_ROUTER_ADVERTISEMENT, _NEIGHBOUR_ADVERTISEMENT = b"\x86", b"\x88"
_LINK_LOCAL_MASK: Final = b"\xff\xc0" + bytes(14)
_LINK_LOCAL: Final = b"\xfe\x80" + bytes(14)
_VLAN_MASK: Final = b"\x0f\xff"
_PRIORITY: Final = -300
_GONE: Final = (errno.ENOENT, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A cable whose port has rules: its end on the host, whose it is (addresses without prefix, "" for none), and what holds."""

    host_interface: str
    mac: str
    ipv4: str
    ipv6: str
    limits: Limits


class Guards:
    """The rules of one instance, in the network namespace of the thread that makes this."""

    def __init__(self, tag: str) -> None:
        self._netfilter = nft.Netfilter()
        self._table = names.table(tag)

    def close(self) -> None:
        """The socket; the rules stay."""
        self._netfilter.close()

    def write(self, cables: Iterable[Guarded]) -> None:
        """Rules for exactly these cables. Raises NetlinkError, PermissionDeniedError, UnsupportedError."""
        wanted = [cable for cable in cables if cable.limits.rules]
        if wanted:
            self._check()
            messages = [message for cable in wanted for message in port(self._table, cable)]
            self._netfilter.install(nft.NETDEV, self._table, messages)
        elif self._netfilter.usable():
            self.clear()

    def add(self, cable: Guarded) -> None:
        """Rules for one more. Raises NetlinkError, PermissionDeniedError, UnsupportedError; then there are none for it."""
        if cable.limits.rules:
            self._check()
            self._netfilter.commit([nft.add_table(nft.NETDEV, self._table), *port(self._table, cable)])

    def remove(self, cable: Guarded) -> None:
        """None for it any more; that they have gone already is no failure. Raises NetlinkError, PermissionDeniedError."""
        if cable.limits.rules:
            try:
                self._netfilter.commit([nft.delete_chain(nft.NETDEV, self._table, cable.host_interface)])
            except NetlinkError as error:
                if error.number not in _GONE:
                    raise

    def lost(self) -> bool:
        """Whether there are no rules."""
        return not self._netfilter.has_table(nft.NETDEV, self._table)

    def clear(self) -> None:
        """No rules at all. Raises NetlinkError, PermissionDeniedError."""
        if self._netfilter.usable() and not self.lost():
            self._netfilter.commit([nft.delete_table(nft.NETDEV, self._table)])

    def _check(self) -> None:
        if not self._netfilter.usable():
            subject = "limits of a network's ports (guard, VLAN, loss)"
            raise UnsupportedError(subject, "this kernel has no nftables", "make the network without them")


def port(table: str, cable: Guarded) -> list[Message]:
    """Messages that make the chain of a cable."""
    rules = [*_tags(cable.limits), *_losses(cable.limits), *(_guard(cable) if cable.limits.guard else [])]
    chain = nft.add_base_chain(nft.NETDEV, table, cable.host_interface, "filter", nft.INGRESS, _PRIORITY, device=cable.host_interface)
    drop = nft.verdict(nft.DROP)
    return [chain, *(nft.add_rule(nft.NETDEV, table, cable.host_interface, *rule, drop) for rule in rules)]


def _tags(limits: Limits) -> list[list[bytes]]:
    if not (limits.vlan or limits.guard):
        return []
    kind = nft.payload(nft.LINK_HEADER, 12, 2)
    other = [nft.payload(nft.LINK_HEADER, 14, 2), nft.masked(_VLAN_MASK), nft.compare(limits.vlan.to_bytes(2, "big"), nft.NOT_EQUAL)]
    return [[kind, nft.compare(_TAG), *(other if limits.vlan else [])], [kind, nft.compare(_SERVICE_TAG)]]


def _losses(limits: Limits) -> list[list[bytes]]:
    if limits.loss >= MILLION:
        return [[]]
    return [[*nft.random_below(MILLION), nft.compare(struct.pack(">I", limits.loss), nft.LESS)]] if limits.loss else []


def _guard(cable: Guarded) -> list[list[bytes]]:
    """IEEE 802.3 source; IPv4 source; ARP's sender (RFC 826); IPv6 source and advertised address (RFC 4861); no router, no DHCP server."""
    mac = bytes.fromhex(cable.mac.replace(":", ""))
    own4 = [nft.compare(each, nft.NOT_EQUAL) for each in (bytes(4), *_packed(cable.ipv4))]
    own6 = [nft.compare(each, nft.NOT_EQUAL) for each in (bytes(16), *_packed(cable.ipv6))]
    other_link = [nft.masked(_LINK_LOCAL_MASK), nft.compare(_LINK_LOCAL, nft.NOT_EQUAL)]
    advertised = [*_icmp6(_NEIGHBOUR_ADVERTISEMENT), nft.payload(nft.TRANSPORT_HEADER, 8, 16)]
    return [
        [nft.payload(nft.LINK_HEADER, 6, 6), nft.compare(mac, nft.NOT_EQUAL)],
        [*_protocol(_IP), nft.payload(nft.NETWORK_HEADER, 12, 4), *own4],
        [*_protocol(_ARP), nft.payload(nft.NETWORK_HEADER, 8, 6), nft.compare(mac, nft.NOT_EQUAL)],
        [*_protocol(_ARP), nft.payload(nft.NETWORK_HEADER, 14, 4), *own4],
        [*_protocol(_IP6), nft.payload(nft.NETWORK_HEADER, 8, 16), *own6, *other_link],
        [*advertised, *own6, *other_link],
        _icmp6(_ROUTER_ADVERTISEMENT),
        [*_protocol(_IP), *_server(_DHCP_SERVER)],
        [*_protocol(_IP6), *_server(_DHCP6_SERVER)],
    ]


def _protocol(kind: bytes) -> list[bytes]:
    return [nft.meta(nft.META_ETHERTYPE), nft.compare(kind)]


def _icmp6(kind: bytes) -> list[bytes]:
    return [*_protocol(_IP6), nft.meta(nft.META_PROTOCOL), nft.compare(_ICMP6), nft.payload(nft.TRANSPORT_HEADER, 0, 1), nft.compare(kind)]


def _server(source: bytes) -> list[bytes]:
    return [nft.meta(nft.META_PROTOCOL), nft.compare(_UDP), nft.payload(nft.TRANSPORT_HEADER, 0, 2), nft.compare(source)]


def _packed(address: str) -> list[bytes]:
    return [ip_address(address).packed] if address else []
