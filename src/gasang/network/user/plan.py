"""Who is who on a guest's cable: the addresses of a network of one guest, which nobody outside ever sees."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

MTU: Final = 1500
MAC: Final = "02:67:61:73:61:6e"
"""A guest's hardware address: on its cable there is nobody but the gateway."""
_UNREACHED: Final = tuple(
    IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")
) + tuple(
    # The first are our own, and IPv4 in disguise (RFC 4291, section 2.5.5), which leads the host's kernel to its own loopback.
    IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8")
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Addresses as text. The gateway is the host's place on the cable, and leads to the host's loopback if `reaches_host`.

    `guest6` is what a guest is called that is told so, and does not choose for itself. What is bounded is so for each of `machines`, where
    one stack is for many.
    """

    subnet: str = "10.0.2.0/24"
    gateway: str = "10.0.2.2"
    nameserver: str = "10.0.2.3"
    guest: str = "10.0.2.15"
    prefix6: str = "fd00:a00:2::/64"
    gateway6: str = "fd00:a00:2::2"
    nameserver6: str = "fd00:a00:2::3"
    guest6: str = "fd00:a00:2::f"
    link_local: str = "fe80::2"
    mac: bytes = b"\x52\x55\x0a\x00\x02\x02"
    reaches_host: bool = False
    mtu: int = MTU
    machines: int = 1

    def loopback(self, address: bytes) -> str:
        """The host's loopback address of the same family as one of our own."""
        return "127.0.0.1" if len(address) == 4 else "::1"


class Places:
    """A plan's addresses as packets have them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.mac = plan.mac
        self.gateway, self.nameserver, self.guest = (IPv4Address(text).packed for text in (plan.gateway, plan.nameserver, plan.guest))
        self.gateway6, self.nameserver6, self.link_local = (
            IPv6Address(text).packed for text in (plan.gateway6, plan.nameserver6, plan.link_local)
        )
        self.subnet, self.prefix = IPv4Network(plan.subnet), IPv6Network(plan.prefix6)
        self.gateways = frozenset((self.gateway, self.gateway6, self.link_local))
        self.nameservers = frozenset((self.nameserver, self.nameserver6))
        self.own = self.gateways | self.nameservers

    def is_guests(self, address: bytes) -> bool:
        """Whether somebody on the cable may call itself that."""
        if address in self.own:
            return False
        if len(address) == 4:
            number = int.from_bytes(address, "big")
            inside = number & int(self.subnet.netmask) == int(self.subnet.network_address)
            return inside and number not in (int(self.subnet.network_address), int(self.subnet.broadcast_address))
        return address[:8] == self.prefix.network_address.packed[:8] or (address[0] == 0xFE and address[1] & 0xC0 == 0x80)

    def outside(self, address: bytes) -> str | None:
        """Where in the host's world an address of a packet leads; None: nowhere."""
        if address in self.gateways:
            return self.plan.loopback(address) if self.plan.reaches_host else None
        found = ip_address(address)
        if any(found.version == net.version and found in net for net in (*_UNREACHED, self.subnet, self.prefix)):
            return None
        return str(found)
