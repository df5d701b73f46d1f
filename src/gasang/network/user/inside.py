"""A network interface in somebody's namespace whose frames a network in user space carries: a tap, or a veth's end and a packet socket.

    eth0, in the namespace ═ frames ═ the descriptor

The interface is made in a namespace that nobody else is in and that only the descriptor keeps, and moved. So no name on the host is needed,
who lets go of the descriptor takes the interface away, and one whose namespace ends tells whoever reads the descriptor: neither keeps the
other alive (tun_chr_open and packet_create in Linux keep the namespace they are called in).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError, UnsupportedError
from gasang.host import netns, rtnetlink, sysctls
from gasang.host.netlink import ROUTE, Socket
from gasang.host.tap import CSUM, TSO4, TSO6, Tap
from gasang.network.user.plan import MAC, Plan

TAKES: Final = CSUM | TSO4 | TSO6
"""What a kernel's interface takes, as TUNSETOFFLOAD has it: all of it."""
_FAR: Final = "far"


def card(namespace: int, plan: Plan, name: str = "eth0") -> int:
    """An interface of the plan's guest in the namespace of that descriptor, with its routes; frames' descriptor, the caller's to close.

    Raises PermissionDeniedError, UnsupportedError where the host has neither taps for us nor Linux 6.6, NetlinkError, GasangError.
    """
    own = netns.create()
    try:
        with netns.entered(own):
            descriptor = _made(namespace, plan.mtu, name)
    finally:
        os.close(own)
    try:
        with netns.entered(namespace):
            _configure(plan, name)
    except (GasangError, OSError):
        os.close(descriptor)
        raise
    return descriptor


def _made(namespace: int, mtu: int, name: str) -> int:
    """By the first of the ways that this host has; why there is none the last one says."""
    problem: GasangError | None = None
    for way in WAYS:
        try:
            return way(namespace, mtu, name)
        except (PermissionDeniedError, UnsupportedError) as error:
            problem = error
    assert problem is not None
    raise problem


def _by_tap(namespace: int, mtu: int, name: str) -> int:
    tap = Tap(name)
    try:
        tap.join(TAKES)
        with Socket(ROUTE) as route:
            index = socket.if_nametoindex(name)
            route.send([rtnetlink.set_hardware_address(index, _hardware(), mtu), rtnetlink.move(index, namespace, name)])
    except (GasangError, OSError):
        tap.close()
        raise
    return tap.descriptor


def _by_veth(namespace: int, mtu: int, name: str) -> int:
    from gasang.network.switch.ports import veth  # few need it

    with Socket(ROUTE) as route:
        messages = [rtnetlink.new_veth(_FAR, 0, name, _hardware(), namespace, mtu, up=False), rtnetlink.without_link_local(_FAR)]
        route.send([*messages, rtnetlink.set_up(_FAR)])
    return veth(_FAR)


WAYS: Final[tuple[Callable[[int, int, str], int], ...]] = (_by_tap, _by_veth)
"""A tap wants /dev/net/tun, which some hosts close to users, and a packet socket wants Linux 6.6."""


def _hardware() -> bytes:
    return bytes.fromhex(MAC.replace(":", ""))


def _configure(plan: Plan, name: str) -> None:
    """As the stack's DHCP and advertisements would have it, which nobody waits for."""
    subnets = {4: (plan.guest, plan.subnet, plan.gateway), 6: (plan.guest6, plan.prefix6, plan.gateway6)}
    with Socket(ROUTE) as route:
        index = socket.if_nametoindex(name)
        route.send([rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX), rtnetlink.without_link_local(index)])
        with contextlib.suppress(GasangError):
            sysctls.write(f"net/ipv6/conf/{name}/accept_ra", "0")  # all that they say is known
        route.send([rtnetlink.set_up(index)])
        for family, (address, subnet, gateway) in subnets.items():
            if family == 6 and sysctls.read(f"net/ipv6/conf/{name}/disable_ipv6") != "0":
                continue
            packed = ip_address(address).packed, ip_address(gateway).packed
            route.send([rtnetlink.new_address(index, packed[0], ip_network(subnet).prefixlen), rtnetlink.default_route(index, packed[1])])
        route.send([rtnetlink.settle_link(index)])
