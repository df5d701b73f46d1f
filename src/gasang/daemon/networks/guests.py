"""What virtual machines have in the place of a container's network: one card for all networks, whose kernel is told what it is on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gasang.daemon.containers.statistics import interfaces
from gasang.host import netns
from gasang.network import guests
from gasang.network.dns.upstream import SERVER
from gasang.network.spec import Endpoint, EndpointSpec

_USUAL_MTU = 1500


def wish(asked: EndpointSpec, others: Sequence[Endpoint]) -> EndpointSpec:
    """What a machine asks of one more network, with its places elsewhere: its card has one hardware address."""
    return replace(asked, guest=True, mac=others[0].mac if others else asked.mac)


def card(ends: Sequence[Endpoint], resolv_conf: str, mtus: Mapping[str, int]) -> dict[str, Any]:
    """What a guest with these places is (kinds.vm.network.Card); at least one is there. `mtus` are the networks', 0 the usual."""
    routed = [end for end in ends if end.default_route]
    names = any(end.dns == (SERVER,) for end in ends)
    return {
        "mac": ends[0].mac,
        "mtu": min(mtus.get(end.network, 0) or _USUAL_MTU for end in ends),
        "addresses": [text for end in ends for text in (end.ipv4, end.ipv6) if text],
        "gateways": [text for end in routed for text in (end.gateway4, end.gateway6) if text],
        "resolv_conf": resolv_conf,
        "resolver": f"{guests.SERVER} {guests.SERVER_ADDRESS.hex(':')}" if names else "",
    }


def figures(namespace: int) -> dict[str, dict[str, int]]:
    """What went through the cables to a machine's namespace."""
    with netns.entered(namespace):
        found = interfaces("thread-self")
    return {name: counts for name, counts in found.items() if name not in (guests.BRIDGE, guests.TAP)}


def is_own(namespace: int) -> bool:
    """Whether that is the namespace that we are in."""
    ours = netns.current()
    try:
        return os.path.sameopenfile(namespace, ours)
    finally:
        os.close(ours)
