"""Who is called what, seen by whom: a machine knows the names of those in its networks, and no others.

An endpoint answers to its machine's name, its aliases, the first twelve digits of the machine's id, and each of these with its network's
name behind a dot. Several endpoints may share a name; then all are answers. Links are names that one machine alone has for another; they
lead to a name, so that they hold when the other comes later or comes back under another address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gasang.network.spec import Endpoint


@dataclass(slots=True)
class _Net:
    name: str
    internal: bool
    members: set[str] = field(default_factory=set)
    by_name: dict[str, dict[str, Endpoint]] = field(default_factory=dict)
    by_address: dict[str, Endpoint] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    network: str
    links: dict[str, str]


class Directory:
    """Names and addresses by network. Not thread-safe: its owner locks."""

    def __init__(self) -> None:
        self._nets: dict[str, _Net] = {}
        self._machines: dict[str, dict[str, _Place]] = {}

    def add(self, endpoint: Endpoint, network: str, *, internal: bool, named: bool = True) -> None:
        """An endpoint is there, in the network of that name; `named`: others there may know it by name."""
        net = self._nets.setdefault(endpoint.network, _Net(network.lower(), internal))
        net.members.add(endpoint.id)
        if named:
            for name in _names(endpoint):
                net.by_name.setdefault(name, {})[endpoint.id] = endpoint
            net.by_address |= {address: endpoint for family in (4, 6) if (address := endpoint.address(family))}
        pairs = (link.lower().partition("=") for link in endpoint.links)
        place = _Place(endpoint.network, {alias: name for alias, _, name in pairs})
        self._machines.setdefault(endpoint.machine, {})[endpoint.id] = place

    def remove(self, endpoint: Endpoint) -> None:
        """It is gone."""
        net = self._nets.get(endpoint.network)
        if net is None:
            return
        for name in _names(endpoint):
            holders = net.by_name.get(name, {})
            holders.pop(endpoint.id, None)
            if not holders:
                net.by_name.pop(name, None)
        for family in (4, 6):
            net.by_address.pop(endpoint.address(family), None)
        places = self._machines.get(endpoint.machine, {})
        places.pop(endpoint.id, None)
        if not places:
            self._machines.pop(endpoint.machine, None)
        net.members.discard(endpoint.id)
        if not net.members:
            del self._nets[endpoint.network]

    def find(self, machine: str, name: str) -> Sequence[Endpoint]:
        """Those whom `machine` knows by that name (in lower case)."""
        found: dict[str, Endpoint] = {}
        for place in self._machines.get(machine, {}).values():
            net = self._nets[place.network]
            bare = name.removesuffix(f".{net.name}")
            for called in (place.links.get(name, name), place.links.get(bare, bare)):
                found |= net.by_name.get(called, {})
        return list(found.values())

    def name_of(self, machine: str, address: str) -> str:
        """The full name of who has that address in a network of `machine`; "" if nobody has."""
        for net in self._of(machine):
            endpoint = net.by_address.get(address)
            if endpoint:
                return f"{endpoint.name or endpoint.machine[:12]}.{net.name}"
        return ""

    def reaches_out(self, machine: str) -> bool:
        """Whether a network of `machine` leads out of this host, so that it may ask for the names there."""
        places = list(self._of(machine))
        return not places or not all(net.internal for net in places)

    def _of(self, machine: str) -> Iterable[_Net]:
        networks = dict.fromkeys(place.network for place in self._machines.get(machine, {}).values())
        return (self._nets[network] for network in networks)


def _names(endpoint: Endpoint) -> Iterable[str]:
    return dict.fromkeys(name.lower() for name in (endpoint.name, endpoint.machine[:12], endpoint.machine, *endpoint.aliases) if name)
