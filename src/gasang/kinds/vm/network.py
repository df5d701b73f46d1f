"""A network card of a machine: a tap that is a port of a bridge of the host's, and what the guest calls itself on it.

A machine that boots hears of that from its init (`Extras.settings`). One that was restored or forked knows what another was called: its
agent carries `forgetting` and `learning` to its kernel, and then the cable is plugged in.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Final

from gasang.core.errors import NotFoundError, UsageError
from gasang.host import netlink, rtnetlink
from gasang.kinds.vm.cable import Cable

if TYPE_CHECKING:
    from gasang.host.tap import Tap

CARD_INDEX: Final = 2
"""The number of a guest's first card in its kernel: only its loopback is there before."""
MOST_ADDRESSES: Final = 16
_NO_TAP: Final = -1


@dataclass(frozen=True)
class Card:
    """What a guest is to be on its card. `mac` is written with colons; `addresses` have their prefix ("10.1.2.3/24"), `gateways` do not.

    `resolv_conf` is a whole /etc/resolv.conf, "" to leave the guest's as it is. `resolver` is an address that is not asked for on the
    cable but known to be at a hardware address: "169.254.0.53 02:00:00:00:00:01", or "". Nothing else needs to be there: no addresses, no
    gateway. With `listens` routers on the cable are trusted with its addresses of IPv6.
    """

    mac: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    resolv_conf: str = ""
    resolver: str = ""
    mtu: int = 1500
    listens: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for addresses that are none."""
        try:
            if len(packed(self.mac)) != 6:
                raise ValueError(f"{self.mac!r} is no hardware address")
            if not 68 <= self.mtu <= 65535 or len(self.addresses) > MOST_ADDRESSES:
                raise ValueError(f"an MTU of {self.mtu}, {len(self.addresses)} addresses")
            for text in self.addresses:
                ip_interface(text)
            for text in self.gateways:
                ip_address(text)
            if self.resolver:
                address, _, hardware = self.resolver.partition(" ")
                if ip_address(address).version != 4 or len(packed(hardware)) != 6:
                    raise ValueError(f"{self.resolver!r} is no IPv4 and hardware address")
        except ValueError as error:
            raise UsageError("network card", str(error), "write addresses as in 10.1.2.3/24 and 02:00:00:00:00:01") from error


@dataclass(frozen=True)
class Network:
    """A card and what it is plugged into: a new tap called `interface`, a port of `bridge` ("" for none).

    Or the tap whose descriptor is `tap`. Without `plugged` the cable is left out until somebody plugs it in (Cable.plug).
    """

    card: Card
    interface: str = ""
    bridge: str = ""
    tap: int = _NO_TAP
    plugged: bool = True

    def attach(self, cleanup: ExitStack, pairs: int = 1) -> Cable:
        """As `attach` below."""
        return attach(self, cleanup, pairs)


def packed(mac: str) -> bytes:
    """A hardware address's bytes. Raises ValueError for what is none."""
    return bytes.fromhex(mac.replace(":", ""))


def attach(network: Network, cleanup: ExitStack, pairs: int = 1) -> Cable:
    """The card's cable, its tap up; `cleanup` takes both away. `pairs` of queues, as VirtioNet has them.

    Raises NotFoundError without the bridge, and what Tap and netlink raise.
    """
    from gasang.host.tap import Tap

    if not network.plugged:
        tap = None
    elif network.tap != _NO_TAP:
        tap = Tap.taken(network.tap)
        cleanup.callback(tap.close)
    else:
        tap = _new_tap(network, cleanup)
    cable = Cable(tap, packed(network.card.mac), network.card.mtu, pairs)
    cleanup.callback(cable.close)
    return cable


def _new_tap(network: Network, cleanup: ExitStack) -> Tap:
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
        route.send([rtnetlink.without_link_local(index), rtnetlink.join_bridge(index, bridge, network.card.mtu)])
    return tap


def forgetting(card: Card) -> bytes:
    """Messages for a guest's kernel: it has none of the addresses and routes that it had, and this card's hardware address.

    Some are refused, those for addresses that it has not; with the card down it forgets those of IPv6 by itself.
    """
    messages = [rtnetlink.delete_any_address(CARD_INDEX) for _ in range(MOST_ADDRESSES)]
    messages += [rtnetlink.set_down(CARD_INDEX), rtnetlink.set_hardware_address(CARD_INDEX, packed(card.mac))]
    return netlink.encode(messages, 1, len(messages) - 1)


def learning(card: Card) -> bytes:
    """Messages for a guest's kernel that has forgotten: who it is now. None of them is refused."""
    messages = [rtnetlink.set_up(CARD_INDEX)]
    if not any(":" in text for text in card.addresses):
        messages.insert(0, rtnetlink.without_link_local(CARD_INDEX))
    for text in card.addresses:
        address, _, prefix = text.partition("/")
        messages.append(rtnetlink.new_address(CARD_INDEX, ip_address(address).packed, int(prefix or ip_address(address).max_prefixlen)))
    messages += [rtnetlink.default_route(CARD_INDEX, ip_address(text).packed) for text in card.gateways]
    if card.resolver:
        server, _, hardware = card.resolver.partition(" ")
        place = ip_address(server).packed
        messages += [rtnetlink.route_on(CARD_INDEX, place), rtnetlink.neighbour(CARD_INDEX, place, packed(hardware))]
    return netlink.encode(messages, 1, len(messages) - 1)


def cable_of(workers: Sequence[object]) -> Cable | None:
    """The cable among a machine's workers."""
    return next((worker for worker in workers if isinstance(worker, Cable)), None)
