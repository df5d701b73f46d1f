"""A network card of a machine: a tap that is a port of a bridge of the host's, and what the guest calls itself on it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from gasang.core.errors import NotFoundError, UsageError
from gasang.kinds.vm.cable import Cable


@dataclass(frozen=True)
class Network:
    """`interface` is the tap to make, `bridge` an interface of the host's or "" for none; `address` has its prefix ("10.1.2.3/24").

    `mac` is written with colons. Empty: no address of its own, no gateway.
    """

    interface: str
    bridge: str
    mac: str
    address: str = ""
    gateway: str = ""
    nameservers: tuple[str, ...] = ()
    mtu: int = 1500

    def __post_init__(self) -> None:
        """Raises UsageError for addresses that are none."""
        try:
            if len(bytes.fromhex(self.mac.replace(":", ""))) != 6:
                raise ValueError(f"{self.mac!r} is no hardware address")
            if self.address:
                ip_interface(self.address)
            for text in (*filter(None, (self.gateway,)), *self.nameservers):
                ip_address(text)
        except ValueError as error:
            raise UsageError(
                f"network card {self.interface}", str(error), "write addresses as in 10.1.2.3/24 and 02:00:00:00:00:01"
            ) from error

    def attach(self, cleanup: ExitStack) -> Cable:
        """As `attach` below."""
        return attach(self, cleanup)


def attach(network: Network, cleanup: ExitStack) -> Cable:
    """The card's cable, its tap up; `cleanup` takes both away. Raises NotFoundError without the bridge, and what Tap and netlink raise."""
    from gasang.host import rtnetlink
    from gasang.host.netlink import ROUTE, Socket
    from gasang.host.tap import Tap

    bridge = 0
    if network.bridge:
        try:
            bridge = socket.if_nametoindex(network.bridge)
        except OSError as error:
            raise NotFoundError(f"bridge {network.bridge}", "this host has no such interface", "see ip link") from error
    tap = Tap(network.interface)
    cleanup.callback(tap.close)
    index = socket.if_nametoindex(tap.name)
    with Socket(ROUTE) as route:
        route.send([rtnetlink.without_link_local(index), rtnetlink.join_bridge(index, bridge, network.mtu)])
    cable = Cable(tap, bytes.fromhex(network.mac.replace(":", "")), network.mtu)
    cleanup.callback(cable.close)
    return cable
