"""Which namespace a container is in and which networks it has joined: at its start, while it runs, at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError, StateError, UsageError
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.networks import endpoints, guests, links, texts, wanted_ports
from gasang.daemon.networks.catalogue import PREDEFINED, WITHOUT_BRIDGE, Catalogue, network_id, without_bridge
from gasang.daemon.records import Database, Table, damaged
from gasang.host import netns
from gasang.host.namespaces import elsewhere
from gasang.kinds.vm.process.launch import Door
from gasang.network.mode import HOST, MACHINE, NONE, mode_of
from gasang.network.names import tag_of
from gasang.network.networks import Networks
from gasang.network.place import Place
from gasang.network.spec import BRIDGE, Network

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
        self._table = Table(database, "network")
        self._events = events
        self._folders = folders
        self._find = find
        state: dict[str, dict[str, Any]] = {"network": {}, "endpoint": {}, "host": {}}
        try:
            for key in self._table:
                kind, _, name = key.partition("/")
                state[kind][name] = self._table[key]
            for stale in _stale(state["endpoint"], Table(database, "container")):
                del state["endpoint"][stale]
                self._store("endpoint", stale, None)
            self.host = Networks(state, tag=tag_of(identity), store=self._store, place=place, folder=folders.run / "switches")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged("networks", str(folders.state)) from error
        self.catalogue = Catalogue(self.host)
        self._held: dict[str, int] = {}
        self._taps: dict[str, int] = {}
        self._staying: set[str] = set()
        self._tidy: asyncio.TimerHandle | None = None

    def _store(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self._table.drop(f"{kind}/{key}")
        else:
            self._table.put(f"{kind}/{key}", value)

    # before the start

    def check(self, container: Container) -> None:
        """Raise UsageError for what can never be joined. A network or container that is not there yet is missed at the start."""
        wanted_ports.ports_of(container)
        mode = mode_of(container.host["NetworkMode"])
        if mode.kind == MACHINE:
            return
        links.check(container, self._find)
        for name, asked in container.endpoints.items():
            if name not in WITHOUT_BRIDGE and (network := self._known(name)):
                endpoints.check(asked, network)

    def _known(self, name: str) -> Network | None:
        try:
            return self.catalogue.find(name)
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
            network = self._known(name)
            if network and network.name != name:
                container.endpoints[network.name] = container.endpoints.pop(name)
                container.host["NetworkMode"] = network.name if container.host["NetworkMode"] == name else container.host["NetworkMode"]

    # joining

    async def join(self, container: Container) -> dict[str, str]:
        """Make the container's network, and fill in the record's; the namespaces it joins, by kind. Raises GasangError."""
        mode = mode_of(container.host["NetworkMode"])
        if mode.kind == MACHINE:
            other = self.sharing(container)
            container.config["Hostname"], container.config["Domainname"] = other.config["Hostname"], other.config["Domainname"]
            return {"network": self._shared(other)}
        if mode.kind == HOST:
            self._tell_without_bridge("connect", container)
            return {"network": ""}
        names = [name for name in container.endpoints if name != NONE]
        if container.config["NetworkDisabled"] or not names:
            self._tell_without_bridge("connect", container)
            return {}
        if container.id in self._staying and container.id in self._taps:
            return {}
        namespace = await asyncio.to_thread(self._connect_all, container)
        for name in names:
            self._tell("connect", container, name)
        return {"network": f"/proc/{os.getpid()}/fd/{namespace}"}

    def _shared(self, other: Container) -> str:
        """The path of another's namespace; "" where that is the host's and this daemon, not being the host's root, may only stay in it."""
        if not self.host.place.is_apart:
            return f"/proc/{other.status.pid}/ns/net"
        try:
            return elsewhere(other.status.pid, "net")
        except FileNotFoundError as error:
            raise StateError("cannot join network of a non running container", other.id, f"start {other.name} first") from error

    def of_exec(self, container: Container) -> dict[str, str]:
        """As `join` for one more process in a container that runs: what it is not to join. Raises StateError where it does not run."""
        mode = mode_of(container.host["NetworkMode"]).kind
        if mode == HOST or (mode == MACHINE and not self._shared(container)):
            return {"network": ""}
        return {}

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

    def _connect_all(self, container: Container) -> int:
        order = endpoints.first_to_last(container.endpoints, self._own(container))
        networks = [self.catalogue.find(name) for name in order if name != NONE]
        way_out = endpoints.way_out(container.endpoints, networks)
        namespace = self.host.place.call(lambda: self._make(container))
        self._held[container.id] = namespace
        try:
            if container.kind == VM:
                self._taps[container.id] = self.host.furnish(namespace, networks[0].spec.mtu)
            for network in networks:
                self._connect(container, network, namespace, default_route=network.id == way_out)
            self._publish(container)
        except (GasangError, OSError):
            self._leave(container, dying=False)
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
        self._tell_without_bridge("disconnect", container)
        for name in was_in:
            self._tell("disconnect", container, name)
        self._tidy_later()

    def _leave(self, container: Container, *, dying: bool = True) -> None:
        for endpoint in self.host.endpoints(machine=container.id):
            self.host.disconnect(endpoint, dying=dying)
        self.started(container)
        tap = self._taps.pop(container.id, None)
        if tap is not None:
            os.close(tap)
        container.ports = {}
        for asked in list(container.endpoints.values()):
            endpoints.forget(asked)

    def started(self, container: Container) -> None:
        """The process holds its namespace now: we need not."""
        namespace = self._held.pop(container.id, None)
        if namespace is not None:
            os.close(namespace)

    # virtual machines, whose namespaces are held while they run: their processes are not in them

    def door(self, container: Container) -> Door | None:
        """The way to its networks of a machine that has joined them, both descriptors the caller's to close; None where it is in none."""
        tap = self._taps.get(container.id)
        return None if tap is None else Door(os.dup(self._held[container.id]), os.dup(tap))

    @contextlib.asynccontextmanager
    async def staying(self, container: Container) -> AsyncIterator[None]:
        """A machine that ends in the block, and starts again, is in its networks all the while: with its addresses, cables and ports.

        One whose tap another daemon has made leaves them, and joins them anew. Who does not run after the block is in none.
        """
        if container.id not in self._taps:
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
        ends = self.host.endpoints(machine=container.id)
        text = texts.resolv_conf(container, self.host) if ends else ""
        mtus = {network.id: network.spec.mtu for network in self.host.list()}
        return guests.card(ends, text, mtus) if ends else None

    def figures(self, container: Container) -> dict[str, dict[str, int]]:
        """What went through a running machine's networks."""
        namespace = self._held.get(container.id)
        return {} if namespace is None else self.host.place.call(lambda: guests.figures(namespace))

    @contextlib.contextmanager
    def _namespace(self, container: Container) -> Iterator[int]:
        """The namespace of one that runs. Raises NotFoundError, and StateError for a machine that has no network card."""
        if container.kind == VM and container.id not in self._held:
            raise StateError(container.subject, "it was started without a network card", "stop it, connect it, and start it again")
        held = self._held.get(container.id)
        namespace = netns.of_process(container.status.pid) if held is None else os.dup(held)
        try:
            yield namespace
        finally:
            os.close(namespace)

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
                    held[container.id] = netns.of_process(process)
            for identity in machines & held.keys():
                if guests.is_own(held[identity]):  # it was not in its networks yet when the last daemon was killed
                    os.close(held.pop(identity))
            self.host.reconcile(held)
            self._held |= {identity: held.pop(identity) for identity in machines & held.keys()}
        finally:
            for descriptor in held.values():
                os.close(descriptor)

    def close(self) -> None:
        """Let go; what no container is in leaves the host at once, because nobody will come to tidy up."""
        if self._tidy is not None:
            self._tidy.cancel()
        with contextlib.suppress(GasangError):  # what cannot be taken away now, the next daemon takes
            self.host.tidy(linger=0)
        self.host.close()
        for namespace in self._held.values():
            os.close(namespace)
        for tap in self._taps.values():
            os.close(tap)

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
        self._tell("connect", container, network.name)
        if not container.status.alive:  # it has ended meanwhile, and was put away without this
            await self.leave(container)

    def _check_connection(self, name: str, container: Container) -> None:
        bare = without_bridge(name)
        if mode_of(container.host["NetworkMode"]).kind in (HOST, MACHINE):
            raise UsageError(_SHARED, "it has no network of its own", "make it anew with --network")
        if bare == HOST:
            raise UsageError(_HOSTS, "it was made without it", "make it anew with --network host")
        if bare == NONE or NONE in container.endpoints:
            raise UsageError(_ALONE, "none means that there is no other", "disconnect it from the others first")

    def _connect_running(self, container: Container, network: Network) -> None:
        before = texts.resolv_conf(container, self.host)
        with self._namespace(container) as namespace:
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
        self._tell("disconnect", container, called)

    def _disconnect_running(self, container: Container, network: Network) -> None:
        with self._namespace(container) as namespace:
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

    # what others are told

    def _tell_without_bridge(self, action: str, container: Container) -> None:
        for name in WITHOUT_BRIDGE:
            if name in container.endpoints:
                self._tell(action, container, name)

    def _tell(self, action: str, container: Container, name: str) -> None:
        driver = WITHOUT_BRIDGE.get(name, BRIDGE)
        known = network_id(name) if name in WITHOUT_BRIDGE else container.endpoints.get(name, {}).get("NetworkID") or ""
        if not known and (network := self._known(name)):
            known = network.id
        self._events.tell("network", action, known, {"container": container.id, "name": name, "type": driver})

    async def create(self, name: str, document: dict[str, Any]) -> Network:
        """A new network out of a client's document. Raises GasangError."""
        made = await asyncio.to_thread(self.catalogue.create, name, document)
        self._events.tell("network", "create", made.id, {"name": made.name, "type": made.spec.driver})
        return made

    async def remove(self, name: str) -> Network:
        """Remove a network. Raises GasangError."""
        gone = await asyncio.to_thread(self.catalogue.remove, name)
        self._events.tell("network", "destroy", gone.id, {"name": gone.name, "type": gone.spec.driver})
        return gone


def _stale(endpoints: Mapping[str, Mapping[str, Any]], containers: Table) -> list[str]:
    """Endpoints whose address another has as well: they were given back while a full disk kept no record of it."""
    holders: dict[tuple[str, str], list[str]] = {}
    for key, endpoint in endpoints.items():
        if endpoint.get("ipv4"):
            holders.setdefault((endpoint["network"], endpoint["ipv4"]), []).append(key)

    def is_idle(key: str) -> bool:
        record = containers.get(endpoints[key]["machine"])
        return record is None or record["status"]["status"] not in ("running", "paused")

    return [key for keys in holders.values() for key in sorted(keys, key=is_idle)[1:]]
