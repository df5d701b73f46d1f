"""What a container's network mode means before it starts: whether it can be had, by which names it is kept, whose network it shares."""

from __future__ import annotations

from collections.abc import Callable

from gasang.core.errors import NotFoundError, StateError
from gasang.daemon.containers.record import Container
from gasang.daemon.networks import alone, endpoints, links, wanted_ports
from gasang.daemon.networks.catalogue import PREDEFINED, WITHOUT_BRIDGE, Catalogue
from gasang.host.namespaces import elsewhere
from gasang.network.mode import HOST, MACHINE, mode_of
from gasang.network.place import Place
from gasang.network.spec import Network


class Modes:
    """Reads modes, with the containers that `find` finds and the networks of a catalogue. `place` is where those networks are."""

    def __init__(self, find: Callable[[str], Container], catalogue: Catalogue, place: Place) -> None:
        self._find = find
        self._catalogue = catalogue
        self._place = place

    def check(self, container: Container) -> None:
        """Raise UsageError for what can never be joined. A network or container that is not there yet is missed at the start."""
        wanted_ports.ports_of(container)
        alone.check(container)
        mode = mode_of(container.host["NetworkMode"])
        if mode.kind == MACHINE:
            return
        links.check(container, self._find)
        for name, asked in container.endpoints.items():
            if name not in WITHOUT_BRIDGE and (network := self.known(name)):
                endpoints.check(asked, network)

    def known(self, name: str) -> Network | None:
        """The network of that name, if there is one."""
        try:
            return self._catalogue.find(name)
        except NotFoundError:
            return None

    def settle(self, container: Container) -> None:
        """Call things by their own names: other containers by their id, networks by their name, however the client called them."""
        links.settle(container)
        mode = mode_of(container.host["NetworkMode"])
        if mode.kind == MACHINE:
            try:
                container.host["NetworkMode"] = f"{MACHINE}:{self._find(mode.subject).id}"
            except NotFoundError:
                return
        for name in [name for name in container.endpoints if name not in PREDEFINED]:
            network = self.known(name)
            if network and network.name != name:
                container.endpoints[network.name] = container.endpoints.pop(name)
                container.host["NetworkMode"] = network.name if container.host["NetworkMode"] == name else container.host["NetworkMode"]

    def owner(self, container: Container) -> str:
        """The id of the container whose /etc/hosts, /etc/hostname and /etc/resolv.conf this one has: that whose network it shares."""
        mode = mode_of(container.host["NetworkMode"])
        try:
            return self._find(mode.subject).id if mode.kind == MACHINE else container.id
        except NotFoundError:
            return container.id

    def sharing(self, container: Container) -> Container:
        """The container whose network this one shares. Raises NotFoundError, StateError where it does not run."""
        other = self._find(mode_of(container.host["NetworkMode"]).subject)
        if not other.status.alive:
            raise StateError("cannot join network of a non running container", other.id, f"start {other.name} first")
        return other

    def shared(self, other: Container) -> str:
        """The path of another's namespace; "" where that is the host's and this daemon, not being the host's root, may only stay in it."""
        if not self._place.is_apart:
            return f"/proc/{other.status.pid}/ns/net"
        try:
            return elsewhere(other.status.pid, "net")
        except FileNotFoundError as error:
            raise StateError("cannot join network of a non running container", other.id, f"start {other.name} first") from error

    def of_exec(self, container: Container) -> dict[str, str]:
        """As `join` for one more process in a container that runs: what it is not to join. Raises StateError where it does not run."""
        mode = mode_of(container.host["NetworkMode"]).kind
        if mode == HOST or (mode == MACHINE and not self.shared(container)):
            return {"network": ""}
        return {}
