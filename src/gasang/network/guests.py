"""How a guest with a kernel of its own is in networks: by the network namespace that a container would have, and a tap in it.

    network's bridge ── cable ──┐
    network's bridge ── cable ──┤ the namespace's own bridge ── tap ── the guest's card
                                       with SERVER

All that concerns networks is as it is for containers: cables, rules, ports, names, and that the kernel takes everything away with the
namespace. The guest's addresses are at its own card, the one that it has for all of its networks; their cables are ports that do not see
each other. Names are answered at an address of the namespace's bridge, which guest and namespace know by heart: it is the same in every
namespace, so nobody may ask aloud who has it.
"""

from __future__ import annotations

import socket
from typing import Final

from gasang.core.errors import GasangError
from gasang.host import netlink, rtnetlink
from gasang.host.netns import entered
from gasang.host.tap import Tap

SERVER: Final = "169.254.0.53"
"""Whom a guest asks for names, in its namespace; link-local, so that no network of anybody's has it (RFC 3927)."""
SERVER_ADDRESS: Final = bytes.fromhex("026761000035")
"""The hardware address of the namespace's bridge, where that is."""
PORT_ADDRESS: Final = bytes.fromhex("026761000001")
"""That of the inner ends of cables; frames never bear it."""
BRIDGE: Final = "guest"
TAP: Final = "tap"
BRIDGE_INDEX: Final = 100
"""A number of our own choice, so that nobody needs to ask for it."""


def furnish(namespace: int, mtu: int = 0) -> int:
    """Make bridge and tap in an empty namespace; the tap's descriptor, which keeps the namespace alive.

    Raises PermissionDeniedError, UnsupportedError without taps, NetlinkError.
    """
    with entered(namespace):
        inside = netlink.Socket(netlink.ROUTE)
        tap = Tap(TAP)
        try:
            index = socket.if_nametoindex(TAP)
            with inside:
                inside.send(_messages(index, mtu))
        except (GasangError, OSError):
            tap.close()
            raise
    return tap.descriptor


def _messages(tap: int, mtu: int) -> list[netlink.Message]:
    return [
        rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX),
        # It has nothing to say: a network's machines would each hear each other's bridge, and a guest works for every frame.
        rtnetlink.new_bridge(BRIDGE, SERVER_ADDRESS, mtu, index=BRIDGE_INDEX, up=False, snoops=False),
        rtnetlink.without_link_local(BRIDGE_INDEX),
        rtnetlink.set_up(BRIDGE_INDEX),
        rtnetlink.new_address(BRIDGE_INDEX, socket.inet_aton(SERVER), 32),
        rtnetlink.without_link_local(tap),
        rtnetlink.join_bridge(tap, BRIDGE_INDEX, mtu),
        rtnetlink.settle_link(tap),
    ]
