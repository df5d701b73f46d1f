"""Our table of rules, made from the networks that are: pure, from values to messages.

There is one table for IPv4 and IPv6. A network that comes adds its rules, a published port is one more element of a map; when a network
goes the table is made anew. Each is one transaction. What the chains do:

    raw          what comes from a machine for the host's own 127.0.0.0/8, or claims to come from there, is dropped
    dnat         (packets that arrive) a published port's packet is sent to its machine; not in networks whose members are kept apart:
                 on a bridge that filters, the packet would stay on it, where the bridge keeps them apart, so it is left to the proxy
    output       (packets of the host itself) likewise
    snat         a machine's packet that leaves its network takes the host's address; what the host sends to a machine from
                 127.0.0.1, and what a machine sends to its own network by a published port, takes the bridge's
    forward      answers pass; from a machine: to its own network, to a published port, out, but never to another network;
                 to a machine: only to a published port

Nothing is accepted on behalf of other tables: `accept` here ends our table only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from gasang.host import nftables as nft
from gasang.host.netlink import Message
from gasang.network.spec import Published

_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
_ADDRESS_TYPES: Final = {4: nft.TYPE_IPV4, 6: nft.TYPE_IPV6}
_WIDTHS: Final = {4: 4, 6: 16}
_FAMILIES: Final = {4: nft.IP, 6: nft.IP6}
_DESTINATIONS: Final = {4: 16, 6: 24}
_SOURCES: Final = {4: 12, 6: 8}
_LOOPBACK_MASK: Final = bytes((255, 0, 0, 0))
_LOOPBACK: Final = bytes((127, 0, 0, 0))
_RAW, _DNAT, _FILTER, _SNAT = -300, -100, 0, 100
_GROUPS: Final = ("inside", "apart", "internal", "outside")
# 32-bit registers: a concatenation is laid out in consecutive ones.
_R0: Final = 8


@dataclass(frozen=True, slots=True)
class Ruled:
    """What the rules need to know of a network."""

    bridge: str
    subnets: tuple[str, ...]
    internal: bool
    icc: bool
    masquerade: bool


def contents(table: str, networks: Sequence[Ruled], published: Iterable[Published], outside: Sequence[str]) -> list[Message]:
    """Messages that fill a new table so that it is as these values say."""
    messages = (
        _sets(table) + _chains(table) + _rules(table, bool(outside)) + _members(table, {"outside": [_interface(name) for name in outside]})
    )
    return messages + [message for network in networks for message in joined(table, network)] + publish(table, published)


def joined(table: str, network: Ruled) -> list[Message]:
    """Messages after which the rules hold for one more network."""
    name = _interface(network.bridge)
    groups = {
        "inside": [name],
        "apart": [] if network.icc else [name],
        "internal": [name] if network.internal else [],
        "together": [name * 2] if network.icc else [],
    }
    return _members(table, groups) + [nft.add_rule(nft.INET, table, "snat", *rule) for rule in _sources(network)]


def removal(table: str) -> list[Message]:
    """Messages after which there is no such table."""
    return [nft.add_table(nft.INET, table), nft.delete_table(nft.INET, table)]


def publish(table: str, published: Iterable[Published]) -> list[Message]:
    """Messages that publish these ports too."""
    return [nft.add_elements(nft.INET, table, name, [element]) for name, element in _elements(published)]


def withdraw(table: str, published: Iterable[Published]) -> list[Message]:
    """Messages that publish them no longer."""
    return [nft.delete_elements(nft.INET, table, name, [element]) for name, element in _elements(published)]


def translatable(port: Published) -> bool:
    """Whether rules can publish it: not on ::1, and not from one family to the other."""
    outer, inner = ip_address(port.host_address), ip_address(port.machine_address)
    return outer.version == inner.version and not (outer.version == 6 and outer.is_loopback)


def _elements(published: Iterable[Published]) -> Iterable[tuple[str, tuple[bytes, bytes]]]:
    for port in published:
        if not translatable(port):
            continue
        outer = ip_address(port.host_address)
        key = struct.pack("B3x", _PROTOCOLS[port.protocol]) + struct.pack(">H2x", port.host_port)
        value = ip_address(port.machine_address).packed + struct.pack(">H2x", port.machine_port)
        exact = not outer.is_unspecified
        yield f"{'exact' if exact else 'any'}{outer.version}", ((outer.packed if exact else b"") + key, value)


def _sets(table: str) -> list[Message]:
    interface = [nft.TYPE_INTERFACE]
    messages = [nft.add_set(nft.INET, table, name, interface, 16, number) for number, name in enumerate(_GROUPS, 1)]
    messages.append(nft.add_set(nft.INET, table, "together", interface * 2, 32, len(_GROUPS) + 1))
    for family, number in ((4, 10), (6, 12)):
        width, kind, port = _WIDTHS[family], _ADDRESS_TYPES[family], [nft.TYPE_PROTOCOL, nft.TYPE_PORT]
        value = [kind, nft.TYPE_PORT]
        messages.append(nft.add_map(nft.INET, table, f"exact{family}", [kind, *port], width + 8, value, width + 4, number))
        messages.append(nft.add_map(nft.INET, table, f"any{family}", port, 8, value, width + 4, number + 1))
    return messages


def _members(table: str, groups: Mapping[str, Sequence[bytes]]) -> list[Message]:
    return [nft.add_elements(nft.INET, table, group, [(name, b"") for name in members]) for group, members in groups.items() if members]


def _chains(table: str) -> list[Message]:
    return [
        nft.add_base_chain(nft.INET, table, "raw", "filter", nft.PREROUTING, _RAW),
        nft.add_base_chain(nft.INET, table, "dnat", "nat", nft.PREROUTING, _DNAT),
        nft.add_base_chain(nft.INET, table, "output", "nat", nft.OUTPUT, _DNAT),
        nft.add_base_chain(nft.INET, table, "snat", "nat", nft.POSTROUTING, _SNAT),
        nft.add_base_chain(nft.INET, table, "forward", "filter", nft.FORWARD, _FILTER),
        nft.add_chain(nft.INET, table, "from-machine"),
        nft.add_chain(nft.INET, table, "to-machine"),
    ]


def _rules(table: str, closed: bool) -> list[Message]:
    chains = {
        "raw": _raw(),
        "dnat": [[*_enters("apart"), nft.verdict(nft.ACCEPT)], *_translations()],
        "output": _translations(),
        "snat": [_from_loopback()],
        "forward": _forward(closed),
        "from-machine": _from_machine(),
        "to-machine": [[*_translated(), nft.verdict(nft.ACCEPT)], [nft.verdict(nft.DROP)]],
    }
    return [nft.add_rule(nft.INET, table, chain, *rule) for chain, rules in chains.items() for rule in rules]


def _raw() -> list[list[bytes]]:
    loopback = [nft.masked(_LOOPBACK_MASK), nft.compare(_LOOPBACK), nft.verdict(nft.DROP)]
    return [[*_enters("inside"), *_of_family(4), nft.payload(nft.NETWORK_HEADER, offset, 4), *loopback] for offset in (16, 12)]


def _translations() -> list[list[bytes]]:
    rules: list[list[bytes]] = []
    for family, width in _WIDTHS.items():
        destination = nft.payload(nft.NETWORK_HEADER, _DESTINATIONS[family], width, _R0)
        port_register = _R0 + width // 4
        send = nft.destination_nat(_FAMILIES[family], _R0, port_register)
        local = [*_of_family(family), *nft.to_local_address()]
        rules.append([*local, destination, *_port(port_register), nft.lookup(f"exact{family}", _R0, _R0), send])
        rules.append([*local, *_port(_R0), nft.lookup(f"any{family}", _R0, _R0), send])
    return rules


def _from_loopback() -> list[bytes]:
    source = [nft.payload(nft.NETWORK_HEADER, _SOURCES[4], 4), nft.masked(_LOOPBACK_MASK), nft.compare(_LOOPBACK)]
    return [*_leaves("inside"), *_translated(), *_of_family(4), *source, nft.masquerade()]


def _sources(network: Ruled) -> list[list[bytes]]:
    rules: list[list[bytes]] = []
    name = _interface(network.bridge)
    for text in network.subnets:
        subnet = ip_network(text)
        comes = [*_of_family(subnet.version), *_within(subnet, _SOURCES)]
        rules.append([nft.meta(nft.META_OUTPUT_NAME), nft.compare(name), *_translated(), *comes, nft.masquerade()])
        if network.masquerade and not network.internal:
            rules.append([nft.meta(nft.META_OUTPUT_NAME), nft.compare(name, nft.NOT_EQUAL), *comes, nft.masquerade()])
    return rules


def _forward(closed: bool) -> list[list[bytes]]:
    answers = [nft.conntrack(nft.CT_STATE), nft.masked(struct.pack("=I", nft.ESTABLISHED_OR_RELATED)), _nonzero(), nft.verdict(nft.ACCEPT)]
    rules = [
        answers,
        [*_enters("inside"), nft.verdict(nft.GOTO, "from-machine")],
        [*_leaves("inside"), nft.verdict(nft.GOTO, "to-machine")],
    ]
    return [*rules, [*_enters("outside"), *_leaves("outside"), nft.verdict(nft.DROP)]] if closed else rules


def _from_machine() -> list[list[bytes]]:
    both = [nft.meta(nft.META_INPUT_NAME, _R0), nft.meta(nft.META_OUTPUT_NAME, _R0 + 4)]
    return [
        [*_translated(), nft.verdict(nft.ACCEPT)],
        [*both, nft.lookup("together", _R0), nft.verdict(nft.ACCEPT)],
        [*_leaves("inside"), nft.verdict(nft.DROP)],
        [*_enters("internal"), nft.verdict(nft.DROP)],
    ]


def _enters(group: str) -> list[bytes]:
    return [nft.meta(nft.META_INPUT_NAME), nft.lookup(group)]


def _leaves(group: str) -> list[bytes]:
    return [nft.meta(nft.META_OUTPUT_NAME), nft.lookup(group)]


def _of_family(version: int) -> list[bytes]:
    return [nft.meta(nft.META_FAMILY), nft.compare(bytes((_FAMILIES[version],)))]


def _within(subnet: IPv4Network | IPv6Network, offsets: dict[int, int]) -> list[bytes]:
    width = _WIDTHS[subnet.version]
    load = nft.payload(nft.NETWORK_HEADER, offsets[subnet.version], width)
    return [load, nft.masked(subnet.netmask.packed), nft.compare(subnet.network_address.packed)]


def _translated() -> list[bytes]:
    return [nft.conntrack(nft.CT_STATUS), nft.masked(struct.pack("=I", nft.DESTINATION_TRANSLATED)), _nonzero()]


def _port(register: int) -> list[bytes]:
    return [nft.meta(nft.META_PROTOCOL, register), nft.payload(nft.TRANSPORT_HEADER, 2, 2, register + 1)]


def _nonzero() -> bytes:
    return nft.compare(b"\0\0\0\0", nft.NOT_EQUAL)


def _interface(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")
