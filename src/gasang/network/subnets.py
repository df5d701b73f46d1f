"""Finding a subnet for a network that names none: private, and used by nothing else on this host.

IPv4 subnets come from the pools that Docker's users know; an IPv6 subnet is a /64 of a unique local prefix (RFC 4193) whose 40 random
bits are made from the network's id, so that it stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import chain
from typing import Final

from gasang.core.errors import OutOfSpaceError
from gasang.host.netlink import Socket
from gasang.host.rtnetlink import all_addresses, all_routes, network_of
from gasang.network.addresses import AnyNetwork

# The pools of dockerd's own defaults (its manual, "default-address-pools"): addresses that administrators expect and keep free.
_POOLS: Final = (
    (IPv4Network("172.17.0.0/16"), 16),
    (IPv4Network("172.18.0.0/15"), 16),
    (IPv4Network("172.20.0.0/14"), 16),
    (IPv4Network("172.24.0.0/13"), 16),
    (IPv4Network("192.168.0.0/16"), 20),
)


def in_use(route: Socket) -> list[AnyNetwork]:
    """Every subnet that the host has a route to or an address in."""
    answers = route.dump(all_routes()) + route.dump(all_addresses())
    return [network for answer in answers if (network := network_of(answer)) is not None]


def free_ipv4(used: Collection[AnyNetwork]) -> IPv4Network:
    """The first subnet of the pools that meets none of `used`.

    Raises OutOfSpaceError.
    """
    taken = [network for network in used if isinstance(network, IPv4Network)]
    for candidate in _candidates():
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise OutOfSpaceError("IPv4 subnets", "every private one is in use on this host", "name one with --subnet")


def unique_local(identity: str) -> IPv6Network:
    """The /64 for a network of that id."""
    digest = hashlib.sha256(identity.encode()).digest()
    return IPv6Network((bytes((0xFD,)) + digest[:5] + digest[5:7] + bytes(8), 64))


def _candidates() -> Iterator[IPv4Network]:
    return chain.from_iterable(pool.subnets(new_prefix=size) for pool, size in _POOLS)
