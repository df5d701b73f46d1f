"""A network card of a machine: a tap that is a port of a bridge of the host's, and what the guest calls itself on it.

A machine that boots hears of that from its init (`Extras.settings`). One that was restored or forked knows what another was called: its
agent carries `forgetting` and `learning` to its kernel, and then the cable is plugged in.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from gasang.core.errors import NotFoundError
from gasang.host import netlink, rtnetlink
from gasang.kinds.vm.cable import Cable
from gasang.kinds.vm.card import MOST_ADDRESSES, Card, packed

if TYPE_CHECKING:
    from gasang.host.tap import Tap

CARD_INDEX: Final = 2
"""The number of a guest's first card in its kernel: only its loopback is there before."""
_NO_TAP: Final = -1


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


def forgetting(card: Card, known: Card | None = None) -> bytes:
    """Messages for a guest's kernel: it has none of the addresses and routes that it had, and this card's hardware address.

    Some are refused, those for addresses that it has not. With the card down it forgets those of IPv6 by itself. A guest that was told
    to be `known`, and has none of IPv6, keeps it up, which spares it work: with its last address of IPv4 its routes go as well, and
    virtio-net takes a hardware address while it is up (IFF_LIVE_ADDR_CHANGE).
    """
    messages = [rtnetlink.delete_any_address(CARD_INDEX) for _ in range(MOST_ADDRESSES)]
    if known is None or any(":" in text for each in (known, card) for text in each.addresses):
        messages.append(rtnetlink.set_down(CARD_INDEX))
    messages.append(rtnetlink.set_hardware_address(CARD_INDEX, packed(card.mac)))
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
