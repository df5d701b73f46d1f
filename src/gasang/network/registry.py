"""Which networks there are, and which of their addresses are taken. Nothing here changes the host.

A network that names no subnet gets one that meets nothing on the host. That is looked at again when the network is about to be used after
nobody was in it, for the host may have got new routes since (a VPN, another place).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, StateError, UsageError
from gasang.network import names, subnets
from gasang.network.addresses import AnyNetwork, Pool
from gasang.network.bridges import Bridges
from gasang.network.spec import BRIDGE, Endpoint, EndpointSpec, Network, NetworkSpec, SubnetSpec

Store = Callable[[str, str, dict[str, Any] | None], None]
_WITHOUT_BRIDGE: Final = frozenset({"host", "none"})


class Registry:
    """The networks and their pools. Not thread-safe: its owner locks."""

    def __init__(self, networks: Mapping[str, Mapping[str, Any]], tag: str, bridges: Bridges, store: Store) -> None:
        self._networks = {key: Network.from_json(value) for key, value in networks.items()}
        self._pools = {network.id: [Pool(subnet) for subnet in network.subnets] for network in self._networks.values()}
        self._tag = tag
        self._bridges = bridges
        self._store = store

    def __contains__(self, identity: str) -> bool:
        return identity in self._networks

    def __getitem__(self, identity: str) -> Network:
        return self._networks[identity]

    def get(self, identity: str) -> Network | None:
        """The network of that id, if there is one."""
        return self._networks.get(identity)

    def all(self) -> Sequence[Network]:
        """All of them, oldest first."""
        return sorted(self._networks.values(), key=lambda network: network.created)

    def create(self, spec: NetworkSpec) -> Network:
        """A new network.

        Raises UsageError, StateError when the name or a subnet is taken, OutOfSpaceError when no subnet is free.
        """
        names.checked_name(spec.name)
        if any(network.name == spec.name for network in self._networks.values()):
            raise StateError(f"network {spec.name}", "there is one of that name", "choose another name, or remove that one")
        if spec.name in _WITHOUT_BRIDGE:
            raise StateError(f"network {spec.name}", "the name means no network of its own", "choose another name")
        identity = names.new_id()
        pools = [Pool(subnet) for subnet in self._wanted(spec, identity)]
        self._check_collisions(pools)
        bridge = names.checked_interface(self._bridge_name(spec, identity))
        network = Network(identity, spec, tuple(pool.spec for pool in pools), bridge, time.time_ns())
        self._keep(network, pools)
        return network

    def find(self, name: str) -> Network:
        """The network of that name, id, or unambiguous beginning of an id.

        Raises NotFoundError, StateError when several ids begin so.
        """
        for network in self._networks.values():
            if name in (network.name, network.id):
                return network
        found = [network for network in self._networks.values() if name and network.id.startswith(name)]
        if len(found) > 1:
            raise StateError(f"network {name}", f"{len(found)} ids begin so", "write more of it")
        if not found:
            raise NotFoundError(f"network {name}", "there is none of that name", "see gasang network ls")
        return found[0]

    def drop(self, network: Network) -> None:
        """It is no more."""
        del self._networks[network.id]
        del self._pools[network.id]
        self._store("network", network.id, None)

    def refreshed(self, network: Network) -> Network:
        """The network, about to be used again: where we chose its subnet and the host has got it meanwhile, it has another now.

        The name of its bridge is ours in any case: a state that was copied or taken along names another instance's.
        """
        network = self._with_own_bridge(network)
        if any(Pool(subnet).family == 4 for subnet in network.spec.subnets):
            return network
        host = subnets.in_use(self._bridges.route)
        pools = self._pools[network.id]
        if not any(_meets(pool.subnet, host) for pool in pools if pool.family == 4):
            return network
        chosen = SubnetSpec(str(subnets.free_ipv4([*host, *self._subnets()])))
        pools = [Pool(chosen) if pool.family == 4 else pool for pool in pools]
        network = replace(network, subnets=tuple(pool.spec for pool in pools))
        self._keep(network, pools)
        return network

    def _with_own_bridge(self, network: Network) -> Network:
        bridge = self._bridge_name(network.spec, network.id)
        if bridge != network.bridge:
            network = replace(network, bridge=bridge)
            self._keep(network, self._pools[network.id])
        return network

    def take(self, network: Network, spec: EndpointSpec) -> tuple[str, str]:
        """An IPv4 and an IPv6 address ("" where the network has no such subnet), each with its prefix.

        Raises UsageError, StateError, OutOfSpaceError; then none is taken.
        """
        taken: dict[int, str] = {}
        wanted: dict[int, str] = {4: spec.ipv4, 6: spec.ipv6}
        pools: dict[int, Pool] = {pool.family: pool for pool in self._pools[network.id]}
        lacking = next((family for family, text in wanted.items() if text and family not in pools), None)
        if lacking:
            raise UsageError(f"address {wanted[lacking]}", f"network {network.name} has no IPv{lacking}", "make one with such a subnet")
        try:
            for version, pool in pools.items():
                taken[version] = pool.take(wanted[version])
        except GasangError:
            for family, address in taken.items():
                pools[family].give(address)
            raise
        return taken.get(4, ""), taken.get(6, "")

    def reserve(self, endpoint: Endpoint) -> None:
        """An endpoint that was before has its addresses still."""
        for pool in self._pools.get(endpoint.network, ()):
            if address := endpoint.address(pool.family):
                pool.take(address)

    def release(self, endpoint: Endpoint) -> None:
        """Its addresses are free again."""
        for pool in self._pools.get(endpoint.network, ()):
            if address := endpoint.address(pool.family):
                pool.give(address)

    def gateways(self, network: Network) -> dict[int, str]:
        """The gateway of each family."""
        return {pool.family: str(pool.gateway) for pool in self._pools[network.id]}

    def _keep(self, network: Network, pools: list[Pool]) -> None:
        self._networks[network.id] = network
        self._pools[network.id] = pools
        self._store("network", network.id, network.to_json())

    def _bridge_name(self, spec: NetworkSpec, identity: str) -> str:
        return spec.bridge or (names.default_bridge(self._tag) if spec.name == BRIDGE else names.bridge(self._tag, identity))

    def _wanted(self, spec: NetworkSpec, identity: str) -> Sequence[SubnetSpec]:
        chosen = list(spec.subnets)
        families = {Pool(subnet).family for subnet in chosen}
        if 4 not in families:
            used = [*subnets.in_use(self._bridges.route), *self._subnets()]
            chosen.insert(0, SubnetSpec(str(subnets.free_ipv4(used))))
        if spec.ipv6 and 6 not in families:
            chosen.append(SubnetSpec(str(subnets.unique_local(identity))))
        return chosen

    def _subnets(self) -> Sequence[AnyNetwork]:
        return [pool.subnet for pools in self._pools.values() for pool in pools]

    def _check_collisions(self, pools: Sequence[Pool]) -> None:
        if len({pool.family for pool in pools}) != len(pools):
            raise UsageError("subnets", "a network has one of each family", "make two networks")
        for pool in pools:
            for other in self._subnets():
                if _meets(pool.subnet, [other]):
                    raise StateError(f"subnet {pool.subnet}", f"another network has {other}", "choose one that does not overlap")


def _meets(subnet: AnyNetwork, others: Iterable[AnyNetwork]) -> bool:
    return any(subnet.version == other.version and subnet.overlaps(other) for other in others)
