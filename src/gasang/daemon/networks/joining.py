"""Which namespace a container is in and which networks it has joined: at its start, while it runs, at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError, StateError, UsageError
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.networks import alone, endpoints, guests, links, texts, wanted_ports
from gasang.daemon.networks.catalogue import Catalogue, without_bridge
from gasang.daemon.networks.held import Held
from gasang.daemon.networks.modes import Modes
from gasang.daemon.networks.stored import Stored
from gasang.daemon.networks.told import Told
from gasang.daemon.records import Database, damaged
from gasang.host import netns
from gasang.kinds.vm.process.launch import Door
from gasang.network.mode import HOST, MACHINE, NONE, USER, mode_of
from gasang.network.names import tag_of
from gasang.network.networks import Networks
from gasang.network.place import Place
from gasang.network.spec import Network
from gasang.network.way_out import WayOut

_ALONE: Final = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_SHARED: Final = "container sharing network namespace with another container or host cannot be connected to any other network"
_HOSTS: Final = "container cannot be disconnected from host network or connected to host network"


class ContainerNetworks:
    """The containers' places in the networks of a daemon."""

    def __init__(
        self,
        database: Database,
        events: Events,
        folders: Folders,
        identity: str,
        find: Callable[[str], Container],
        make: Callable[[Container], int],
        place: Place | None = None,
    ) -> None:
        """`identity` is the state's: by it the daemon knows on the host what is its own. `make` gives a new namespace for a container.

        `place` is where networks are, if not where the daemon is.
        """
        self._make = make
        self._folders = folders
        self._find = find
        stored = Stored(database)
        try:
            self.host = Networks(
                stored.load(), tag=tag_of(identity), store=stored.store, place=place, folder=folders.run / "switches"
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged("networks", str(folders.state)) from error
        self.catalogue = Catalogue(self.host)
        self._alone = alone.Alone(folders.run / "user-networks", self.host.place)
        self.way_out = WayOut(folders.run / "user-networks" / "out", self.host.place)
        self.modes = Modes(find, self.catalogue, self.host.place)
        self._told = Told(events, self.modes.known)
        self._held = Held()
        self._staying: set[str] = set()
        self._tidy: asyncio.TimerHandle | None = None

    # joining

    async def join(self, container: Container) -> dict[str, str]:
        """Make the container's network, and fill in the record's; the namespaces it joins, by kind. Raises GasangError."""
        mode = mode_of(container.host["NetworkMode"])
        if mode.kind == MACHINE:
            other = self.modes.sharing(container)
            container.config["Hostname"], container.config["Domainname"] = other.config["Hostname"], other.config["Domainname"]
            return {"network": self.modes.shared(other)}
        if mode.kind == HOST:
            self._told.without_bridge("connect", container)
            return {"network": ""}
        names = [name for name in container.endpoints if name != NONE]
        if container.config["NetworkDisabled"] or not names:
            self._told.without_bridge("connect", container)
            return {}
        if container.id in self._staying and self._held.has_tap(container):
            return {}
        if alone.is_alone(container):
            namespace = await asyncio.to_thread(self._begin_alone, container)
            return {} if container.kind == VM else {"network": f"/proc/{os.getpid()}/fd/{namespace}"}
        namespace = await asyncio.to_thread(self._connect_all, container)
        for name in names:
            self._told.place("connect", container, name)
        return {"network": f"/proc/{os.getpid()}/fd/{namespace}"}

    def _connect_all(self, container: Container) -> int:
        order = endpoints.first_to_last(container.endpoints, self._own(container))
        networks = [self.catalogue.find(name) for name in order if name != NONE]
        way_out = endpoints.way_out(container.endpoints, networks)
        if way_out:
            self.way_out.begin()
        namespace = self.host.place.call(lambda: self._make(container))
        self._held.hold({container.id: namespace})
        try:
            if container.kind == VM:
                self._held.furnish(container, self.host.furnish(namespace, networks[0].spec.mtu))
            for network in networks:
                self._connect(container, network, namespace, default_route=network.id == way_out)
            self._publish(container)
        except (GasangError, OSError):
            self._leave(container, dying=False)
            raise
        return namespace

    def _begin_alone(self, container: Container) -> int:
        """A machine's namespace is empty, and its card leads to a process that is where ports are published; a container's has the card."""
        if container.kind == VM:
            self._held.furnish(container, self._alone.begin(container))
        try:
            namespace = self.host.place.call(lambda: self._make(container))
            self._held.hold({container.id: namespace})
            if container.kind != VM:
                self._alone.begin_inside(container, namespace)
        except (GasangError, OSError):
            self._leave(container)
            raise
        return namespace

    def _own(self, container: Container) -> str:
        return mode_of(container.host["NetworkMode"]).subject or NONE

    def _connect(self, container: Container, network: Network, namespace: int, *, default_route: bool = True) -> None:
        asked = container.endpoints[network.name]
        endpoints.check(asked, network)
        wish = endpoints.wish(container, asked, default_route=default_route)
        if container.kind == VM:
            wish = guests.wish(wish, self.host.endpoints(machine=container.id))
        try:
            endpoint = self.host.connect(network.id, namespace, wish)
        except StateError as error:
            if wish.ipv4 and wish.ipv4 in error.subject:
                raise StateError(f"Address already in use: {wish.ipv4}", error.cause, error.hint) from error
            raise
        asked.update(endpoints.fact(network, endpoint))

    def _publish(self, container: Container) -> None:
        wanted = wanted_ports.ports_of(container)
        container.ports = {}
        ends = self.host.endpoints(machine=container.id)
        if not wanted or not ends:
            return
        routed = next((end for end in ends if end.gateway4 or end.gateway6), ends[0])
        try:
            container.ports = wanted_ports.shown(self.host.publish(routed, wanted))
        except StateError as error:
            others = [port for endpoint in self.host.endpoints() for port in endpoint.published]
            raise wanted_ports.taken(wanted, others, error) from error

    # leaving

    async def leave(self, container: Container) -> None:
        """Put the container's network away; what it had is no longer in its record. Not that of one that stays."""
        if container.id in self._staying:
            return
        was_in = [name for name, end in container.endpoints.items() if end.get("EndpointID")]
        await asyncio.to_thread(self._leave, container)
        self._told.without_bridge("disconnect", container)
        for name in was_in:
            self._told.place("disconnect", container, name)
        self._tidy_later()

    def _leave(self, container: Container, *, dying: bool = True) -> None:
        for endpoint in self.host.endpoints(machine=container.id):
            self.host.disconnect(endpoint, dying=dying)
        self._held.drop(container)
        if alone.is_alone(container):
            self._alone.end(container)
        container.ports = {}
        for asked in list(container.endpoints.values()):
            endpoints.forget(asked)

    # virtual machines, whose namespaces are held while they run: their processes are not in them

    def door(self, container: Container) -> Door | None:
        """As Held has it."""
        return self._held.door(container)

    @contextlib.asynccontextmanager
    async def staying(self, container: Container) -> AsyncIterator[None]:
        """A machine that ends in the block, and starts again, is in its networks all the while: with its addresses, cables and ports.

        One whose tap another daemon has made leaves them, and joins them anew. Who does not run after the block is in none.
        """
        if not self._held.has_tap(container):
            yield
            return
        self._staying.add(container.id)
        try:
            yield
        finally:
            self._staying.discard(container.id)
            if not container.status.alive:
                await self.leave(container)

    def is_furnished(self, identity: str) -> bool:
        """Whether the machine of that id runs with a network card, be it in a network or not."""
        return identity in self._held

    def card(self, container: Container) -> dict[str, Any] | None:
        """What a machine's guest is on its card (kinds.vm.network.Card), None where it is in no network."""
        if alone.is_alone(container):
            return alone.card()
        ends = self.host.endpoints(machine=container.id)
        text = texts.resolv_conf(container, self.host) if ends else ""
        mtus = {network.id: network.spec.mtu for network in self.host.list()}
        return guests.card(ends, text, mtus) if ends else None

    def figures(self, container: Container) -> dict[str, dict[str, int]]:
        """What went through a running machine's networks."""
        namespace = self._held.namespace(container)
        return {} if namespace is None else self.host.place.call(lambda: guests.figures(namespace))

    def _tidy_later(self, after: float | None = 0.0) -> None:
        if after is None or self._tidy is not None:
            return
        self._tidy = asyncio.get_running_loop().call_later(after, lambda: asyncio.ensure_future(self._tidy_now()))

    async def _tidy_now(self) -> None:
        self._tidy = None
        again = await asyncio.to_thread(self.host.tidy)
        self._tidy_later(again)

    def reconcile(self, containers: Sequence[tuple[Container, int]]) -> None:
        """After a restart of the daemon: put away what belongs to none of these, which run; with each a process that is in its networks."""
        held: dict[str, int] = {}
        machines = {container.id for container, _ in containers if container.kind == VM}
        try:
            for container, process in containers:
                if container.kind != VM or self.host.endpoints(machine=container.id):
                    with contextlib.suppress(NotFoundError):  # it has ended since it was looked at, and is about to be told of
                        held[container.id] = netns.of_process(process)
            for identity in machines & held.keys():
                if guests.is_own(held[identity]):  # it was not in its networks yet when the last daemon was killed
                    os.close(held.pop(identity))
            self.host.reconcile(held)
            self._held.hold({identity: held.pop(identity) for identity in machines & held.keys()})
        finally:
            for descriptor in held.values():
                os.close(descriptor)

    def close(self) -> None:
        """Let go; what no container is in leaves the host at once, because nobody will come to tidy up."""
        if self._tidy is not None:
            self._tidy.cancel()
        with contextlib.suppress(GasangError):  # what cannot be taken away now, the next daemon takes
            self.host.tidy(linger=0)
        if not self.host.endpoints():
            self.way_out.end()
        self.host.close()
        self._held.close()

    # connecting and disconnecting what runs; the life's lock is held

    async def connect(self, name: str, container: Container, asked: dict[str, Any]) -> None:
        """Join a container, running or not, to one more network. Raises GasangError."""
        self._check_connection(name, container)
        network = await asyncio.to_thread(self.catalogue.find, name)
        endpoints.check(asked, network)
        if not container.status.alive:
            container.endpoints.setdefault(network.name, asked)
            return
        if network.name in container.endpoints:
            cause = f"endpoint with name {container.name} already exists in network {network.name}"
            raise PermissionDeniedError(cause, "it has joined", "disconnect it first")
        container.endpoints[network.name] = asked
        try:
            await asyncio.to_thread(self._connect_running, container, network)
        except (GasangError, OSError):
            del container.endpoints[network.name]
            raise
        self._told.place("connect", container, network.name)
        if not container.status.alive:  # it has ended meanwhile, and was put away without this
            await self.leave(container)

    def _check_connection(self, name: str, container: Container) -> None:
        bare = without_bridge(name)
        if mode_of(container.host["NetworkMode"]).kind in (HOST, MACHINE, USER):
            raise UsageError(_SHARED, "it has no network of its own", "make it anew with --network")
        if bare == HOST:
            raise UsageError(_HOSTS, "it was made without it", "make it anew with --network host")
        if bare == NONE or NONE in container.endpoints:
            raise UsageError(_ALONE, "none means that there is no other", "disconnect it from the others first")

    def _connect_running(self, container: Container, network: Network) -> None:
        before = texts.resolv_conf(container, self.host)
        with self._held.opened(container) as namespace:
            self._connect(container, network, namespace)
        if container.kind == VM:  # its files are its own: it is told otherwise
            return
        folder = self._folders.container(container.id)
        texts.replace_lines(folder / "hosts", (), texts.own_lines(container, container.endpoints[network.name]))
        texts.replace_text(folder / "resolv.conf", before, texts.resolv_conf(container, self.host))

    async def disconnect(self, name: str, container: Container) -> None:
        """Take a container out of a network. Raises GasangError."""
        bare = without_bridge(name)
        network = None if bare else await asyncio.to_thread(self.catalogue.find, name)
        called = network.name if network else bare
        if called not in container.endpoints:
            subject = f"container {container.id} is not connected to network {called}"
            raise StateError(subject, "it has not joined", "docker inspect tells its networks")
        if bare == HOST and container.status.alive:
            raise UsageError(_HOSTS, "it runs in it", "stop it first")
        if network and container.status.alive:
            await asyncio.to_thread(self._disconnect_running, container, network)
        del container.endpoints[called]
        self._told.place("disconnect", container, called)

    def _disconnect_running(self, container: Container, network: Network) -> None:
        with self._held.opened(container) as namespace:
            for endpoint in self.host.endpoints(network.id, container.id):
                self.host.disconnect(endpoint, namespace=namespace)
        if container.kind == VM:
            return
        lines = texts.own_lines(container, container.endpoints[network.name])
        texts.replace_lines(self._folders.container(container.id) / "hosts", lines, ())

    # what containers read

    def files(self, container: Container) -> dict[str, str]:
        """The contents of /etc/hosts and /etc/resolv.conf."""
        if mode_of(container.host["NetworkMode"]).kind == HOST:
            return {"hosts": texts.of_host("/etc/hosts"), "resolv.conf": texts.resolv_conf(container, self.host)}
        lines = links.hosts(container, self._find)
        return {"hosts": texts.hosts(container, lines), "resolv.conf": texts.resolv_conf(container, self.host)}

    def environment(self, container: Container) -> list[str]:
        """The variables that tell of linked containers."""
        return links.environment(container, self._find)

    # networks themselves

    async def create(self, name: str, document: dict[str, Any]) -> Network:
        """A new network out of a client's document. Raises GasangError."""
        return self._told.network("create", await asyncio.to_thread(self.catalogue.create, name, document))

    async def remove(self, name: str) -> Network:
        """Remove a network. Raises GasangError."""
        return self._told.network("destroy", await asyncio.to_thread(self.catalogue.remove, name))
