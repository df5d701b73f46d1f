"""Cables: a pair of interfaces, one end a port of a bridge on the host, the other inside a machine's network namespace.

The fast path. Two batches: one on the host makes the pair with the far end already inside and under its name, one inside gives that end its
addresses and routes. A cable goes with either of its ends: a namespace that dies takes its cable along, in the kernel's own time, and
nobody waits for it; deleting a cable whose machine lives takes the kernel some 20 ms, most of them waiting.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import GasangError, UnsupportedError
from gasang.host import netlink, rtnetlink, sysctls, traffic
from gasang.host.netns import create, entered
from gasang.network import guests

_GONE: Final = frozenset({errno.ENODEV})


@dataclass(frozen=True, slots=True)
class Plug:
    """A cable that is wanted. Addresses carry their prefix, gateways do not; `bridge` is an interface's number, 0: it is no bridge's."""

    host_interface: str
    bridge: int
    isolated: bool
    interface: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    guest: bool = False
    """The addresses are those of a guest behind the inner end, which is a port of its namespace's bridge."""
    bandwidth: int = 0
    """Bits a second, each way; 0: any."""
    latency: int = 0
    """Microseconds that a frame waits on its way to the machine."""


def plug(route: netlink.Socket, wanted: Plug, namespace: int) -> None:
    """Make the cable; `route` is a socket of the host, `namespace` a descriptor of the machine's.

    Raises NetlinkError, PermissionDeniedError; then there is no cable.
    """
    hardware = guests.PORT_ADDRESS if wanted.guest else bytes.fromhex(wanted.mac.replace(":", ""))
    batch = [
        rtnetlink.new_veth(wanted.host_interface, wanted.bridge, wanted.interface, hardware, namespace, wanted.mtu, up=False),
        rtnetlink.without_link_local(
            wanted.host_interface
        ),  # the machine would hear it look for who has that address, and then join groups
        rtnetlink.set_up(wanted.host_interface),
        rtnetlink.get_link(wanted.host_interface),
    ]
    if wanted.isolated:
        batch.insert(1, rtnetlink.isolate_port(wanted.host_interface))
    here, there = rtnetlink.ends_of(route.send(batch)[0])
    try:
        if wanted.bandwidth or wanted.latency:
            _shape(route, here, wanted.bandwidth, wanted.latency)
        _configure(wanted, there, namespace)
        # Else the kernel notices only later, when its worker has time, that the port and with it the bridge are connected, and drops what
        # comes before: the sender tries again after a second.
        route.send([rtnetlink.settle_link(index) for index in (here, wanted.bridge) if index])
    except (GasangError, OSError):
        unplug(route, [wanted.host_interface])
        raise


def _configure(wanted: Plug, index: int, namespace: int) -> None:
    with entered(namespace):
        inside = netlink.Socket(netlink.ROUTE)
        with contextlib.suppress(GasangError):
            # A neighbour must not make itself this machine's router.
            sysctls.write(f"net/ipv6/conf/{wanted.interface}/accept_ra", "0")
    with inside:
        if wanted.bandwidth:
            _shape(inside, index, wanted.bandwidth, 0)
        inside.send(guest_messages(wanted, index) if wanted.guest else inner_messages(wanted, index))


def _shape(route: netlink.Socket, index: int, bandwidth: int, latency: int) -> None:
    """Each end of the cable keeps back what it sends: who sends too much waits, and nothing has to be lost.

    Raises UnsupportedError where the kernel cannot, NetlinkError, PermissionDeniedError.
    """
    try:
        route.send([traffic.shaped(index, bandwidth, latency)])
    except netlink.NetlinkError as error:
        if error.number != errno.ENOENT:
            raise
        what, module = ("latency", "sch_netem") if latency else ("bandwidth", "sch_tbf")
        hint = f"load {module}, or make the network with --driver switch, which needs none"
        raise UnsupportedError(f"{what} of a network", f"this kernel has no {module}", hint) from error


def can_shape(bandwidth: int, latency: int) -> bool:
    """Whether this host's kernel has what such limits need: it is tried, on the loopback of a namespace that is gone again.

    Raises PermissionDeniedError, GasangError.
    """
    namespace = create()
    try:
        with entered(namespace), netlink.Socket(netlink.ROUTE) as route:
            for limits in filter(any, ((bandwidth, 0), (0, latency))):
                route.send([traffic.shaped(rtnetlink.LOOPBACK_INDEX, *limits)])
    except netlink.NetlinkError as error:
        if error.number != errno.ENOENT:
            raise
        return False
    finally:
        os.close(namespace)
    return True


def guest_messages(wanted: Plug, index: int) -> list[netlink.Message]:
    """What is to be done where a guest has the addresses: its networks meet at its tap, and not each other."""
    hardware = bytes.fromhex(wanted.mac.replace(":", ""))
    messages = [
        rtnetlink.without_link_local(index),
        rtnetlink.join_bridge(index, guests.BRIDGE_INDEX),
        rtnetlink.isolate_port(wanted.interface),
    ]
    for text in wanted.addresses:
        if ":" not in text:
            address = _packed(text.partition("/")[0])
            messages += [rtnetlink.route_on(guests.BRIDGE_INDEX, address), rtnetlink.neighbour(guests.BRIDGE_INDEX, address, hardware)]
    return [*messages, rtnetlink.settle_link(index), rtnetlink.settle_link(guests.BRIDGE_INDEX)]


def inner_messages(wanted: Plug, index: int) -> list[netlink.Message]:
    """What is to be done inside, where the cable's end has the number `index`."""
    addresses = [(text, *text.split("/")) for text in wanted.addresses]
    ipv6 = any(":" in text for text in wanted.addresses)
    messages = [rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX)]
    messages += [rtnetlink.set_up(index)] if ipv6 else [rtnetlink.without_link_local(index), rtnetlink.set_up(index)]
    messages += [rtnetlink.new_address(index, _packed(address), int(prefix)) for _, address, prefix in addresses]
    messages += [rtnetlink.default_route(index, _packed(gateway)) for gateway in wanted.gateways]
    return messages


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def route_by(namespace: int, interface: str, gateways: Sequence[str]) -> None:
    """Let the machine's default routes, of which it has none, go by these gateways.

    Raises NetlinkError, PermissionDeniedError.
    """
    with entered(namespace):
        inside = netlink.Socket(netlink.ROUTE)
    with inside:
        index = rtnetlink.link_of(inside.send([rtnetlink.get_link(interface)])[0]).index
        inside.send([rtnetlink.default_route(index, _packed(gateway)) for gateway in gateways])


def unplug(route: netlink.Socket, host_interfaces: Sequence[str]) -> None:
    """Delete cables; those already gone are no failure.

    Raises NetlinkError, PermissionDeniedError.
    """
    if host_interfaces:
        route.send([rtnetlink.delete_link(name) for name in host_interfaces], forgiven=_GONE)


def loopback(namespace: int) -> None:
    """Only lo, and that up: what a machine without a network has.

    Raises PermissionDeniedError, GasangError.
    """
    with entered(namespace):
        inside = netlink.Socket(netlink.ROUTE)
    with inside:
        inside.send([rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX)])
