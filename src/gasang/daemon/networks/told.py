"""Events of networks: made, gone, joined, left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gasang.daemon.containers.record import Container
from gasang.daemon.events import Events
from gasang.daemon.networks.catalogue import WITHOUT_BRIDGE, network_id
from gasang.network.spec import BRIDGE, Network

Action = Literal["connect", "disconnect"]


class Told:
    """Tells them. `known` finds a network by its name, None where it is gone."""

    def __init__(self, events: Events, known: Callable[[str], Network | None]) -> None:
        self._events = events
        self._known = known

    def network(self, action: Literal["create", "destroy"], network: Network) -> Network:
        """What has become of a network; the network."""
        self._events.tell("network", action, network.id, {"name": network.name, "type": network.spec.driver})
        return network

    def place(self, action: Action, container: Container, name: str) -> None:
        """A container is in a network now, or no longer."""
        driver = WITHOUT_BRIDGE.get(name, BRIDGE)
        identity = network_id(name) if name in WITHOUT_BRIDGE else container.endpoints.get(name, {}).get("NetworkID") or ""
        if not identity and (network := self._known(name)):
            identity = network.id
        self._events.tell("network", action, identity, {"container": container.id, "name": name, "type": driver})

    def without_bridge(self, action: Action, container: Container) -> None:
        """The same of host and none, where it is that."""
        for name in WITHOUT_BRIDGE:
            if name in container.endpoints:
                self.place(action, container, name)
