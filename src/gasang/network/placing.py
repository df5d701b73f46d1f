"""From a wish to a place: which interface, addresses and routes a machine gets in a network. Nothing on the host is changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from gasang.network import cables, names
from gasang.network.dhcp.answering import Guest
from gasang.network.dns.upstream import checked_resolver
from gasang.network.guarding import Guarded
from gasang.network.limits import Limits, limits_of
from gasang.network.registry import Registry
from gasang.network.spec import BRIDGE, Endpoint, EndpointSpec, Network
from gasang.network.user.plan import MTU


def place(registry: Registry, tag: str, network: Network, spec: EndpointSpec, others: Sequence[Endpoint]) -> Endpoint:
    """The machine's place, its addresses taken; `others` are its places elsewhere.

    Raises UsageError, StateError when an address is in use, OutOfSpaceError; then no address is taken.
    """
    identity = names.new_id()
    interface = names.checked_interface(spec.interface) if spec.interface else _free_interface(others)
    mac = names.checked_hardware_address(spec.mac) if spec.mac else ""
    resolvers = tuple(checked_resolver(text) for text in spec.resolvers)
    ipv4, ipv6 = registry.take(network, spec)
    gateways = {} if network.spec.internal else registry.gateways(network)
    return Endpoint(
        id=identity,
        network=network.id,
        machine=spec.machine,
        interface=interface,
        host_interface=names.cable(tag, identity),
        mac=mac or names.machine_address(ipv4, identity),
        name=spec.name,
        aliases=spec.aliases,
        ipv4=ipv4,
        ipv6=ipv6,
        gateway4=gateways.get(4, ""),
        gateway6=gateways.get(6, ""),
        default_route=spec.default_route and not network.spec.internal and not any(other.default_route for other in others),
        resolvers=resolvers,
        links=spec.links,
        guest=spec.guest,
    )


def bridged(network: Network) -> Limits:
    """What the kernel's bridge and rules see to; of a network on a switch, that does."""
    return limits_of(network.spec.options) if network.spec.driver == BRIDGE else Limits()


def plug(network: Network, endpoint: Endpoint, bridge: int) -> cables.Plug:
    """The cable of a place; `bridge` is the number of the network's bridge, 0 on a switch."""
    limits = bridged(network)
    return cables.Plug(
        endpoint.host_interface,
        bridge,
        not network.spec.icc and bridge != 0,
        endpoint.interface,
        endpoint.mac,
        network.spec.mtu,
        tuple(text for text in (endpoint.ipv4, endpoint.ipv6) if text),
        tuple(text for text in (endpoint.gateway4, endpoint.gateway6) if text and endpoint.default_route),
        endpoint.guest,
        limits.bandwidth,
        limits.latency,
    )


def guarded(network: Network, endpoint: Endpoint) -> Guarded:
    """What rules hold at the port of a place."""
    return Guarded(endpoint.host_interface, endpoint.mac, endpoint.address(4), endpoint.address(6), bridged(network))


def asking(tag: str, network: Network, endpoint: Endpoint) -> Guest:
    """What a guest is told that asks who it is there."""
    return Guest(
        bytes.fromhex(endpoint.mac.replace(":", "")),
        names.bridge_address(tag, network.id),
        endpoint.ipv4,
        endpoint.gateway4,
        endpoint.ipv6,
        endpoint.gateway6,
        endpoint.name,
        network.spec.mtu or MTU,
    )


def _free_interface(others: Sequence[Endpoint]) -> str:
    taken = {other.interface for other in others}
    return next(name for number in count() if (name := f"eth{number}") not in taken)
