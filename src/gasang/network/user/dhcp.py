"""What DHCP tells on the cable: an IPv4 address out of a few, and for IPv6, whose addresses are advertised, the resolver."""

from __future__ import annotations

from typing import Final

from gasang.network.dhcp.leases import Leases
from gasang.network.dhcp.v4 import Offer, Server4
from gasang.network.dhcp.v6 import Server6
from gasang.network.user.plan import Places

LEASES: Final = 16


def server4(places: Places) -> Server4:
    """Gives the plan's guest its address, and others those behind it."""
    first = int.from_bytes(places.guest, "big")
    pool = [(first + step).to_bytes(4, "big") for step in range(LEASES)]
    offer = Offer(places.gateway, places.subnet.netmask.packed, (places.gateway,), (places.nameserver,), places.plan.mtu)
    return Server4(offer, Leases(pool))


def server6(places: Places) -> Server6:
    """Tells the resolver."""
    return Server6(places.mac, (places.nameserver6,))
