"""The networks of this host: made, joined, left, listed. The one door to this room.

State is plain data: `{"network": {id: …}, "endpoint": {id: …}, "host": {"before": …}}`. It is handed in, and every change is handed to
`store(kind, id, value)` (value None: gone). What concerns the host's own settings is stored before it is done; the rest after, because
`reconcile` finds and removes what nobody remembers. All calls may come from any thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, StateError, UsageError
from gasang.network import cables, names, ports, subnets
from gasang.network.addresses import Pool
from gasang.network.bridges import Bridges
from gasang.network.dns.directory import Directory
from gasang.network.dns.inside import listen
from gasang.network.dns.server import Server
from gasang.network.dns.upstream import PATH, SERVER, Watched, text_for_machine
from gasang.network.forwarding import Before
from gasang.network.proxy import Proxy
from gasang.network.spec import BRIDGE, Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec, Published, SubnetSpec

Store = Callable[[str, str, dict[str, Any] | None], None]
_PREDEFINED: Final = frozenset({BRIDGE, "host", "none"})
_LINGER: Final = 10.0


def _forget(_kind: str, _identity: str, _value: dict[str, Any] | None) -> None:
    """Nothing is stored."""


class Networks:
    """All networks of one instance, in the network namespace of the thread that makes this."""

    def __init__(self, state: Mapping[str, Mapping[str, Any]], *, tag: str, store: Store = _forget, resolv_conf: str = PATH) -> None:
        """`tag` is `names.tag_of` what tells this instance from others.

        Raises BadInputError when the state is damaged, UnsupportedError where the kernel has no netlink.
        """
        self._tag = names.checked_tag(tag)
        self._store = store
        self._lock = threading.RLock()
        self._networks = {key: Network.from_json(value) for key, value in state.get("network", {}).items()}
        self._endpoints = {key: Endpoint.from_json(value) for key, value in state.get("endpoint", {}).items()}
        before = Before.from_json(state.get("host", {}).get("before", {}))
        self._bridges = Bridges(tag, before, lambda value: store("host", "before", value.to_json()))
        self._pools = {network.id: [Pool(subnet) for subnet in network.subnets] for network in self._networks.values()}
        self._unused_since: dict[str, float] = {}
        self._proxy = Proxy()
        self._directory = Directory()
        self._dns = Server(self._directory, resolv_conf)
        self._resolvers = Watched(resolv_conf)
        self._asking: set[str] = set()
        self._closed = False
        for endpoint in self._endpoints.values():
            self._reserve(endpoint)
            self._enlist(endpoint)

    def close(self) -> None:
        """Let go. Machines keep their networks. Done twice, it is done once."""
        if self._closed:
            return
        self._closed = True
        self._proxy.close()
        self._dns.close()
        self._bridges.close()

    # Networks

    def create(self, spec: NetworkSpec) -> Network:
        """A new network. Nothing is on the host before the first machine joins.

        Raises UsageError, StateError when the name or a subnet is taken, OutOfSpaceError when no subnet is free.
        """
        with self._lock:
            names.checked_name(spec.name)
            if any(network.name == spec.name for network in self._networks.values()):
                raise StateError(f"network {spec.name}", "there is one of that name", "choose another name, or remove that one")
            if spec.name in _PREDEFINED - {BRIDGE}:
                raise StateError(f"network {spec.name}", "the name means no network of its own", "choose another name")
            identity = names.new_id()
            pools = [Pool(subnet) for subnet in self._subnets(spec, identity)]
            self._check_collisions(pools)
            bridge = names.checked_interface(spec.bridge) if spec.bridge else self._bridge_name(spec, identity)
            resolved = tuple(pool.spec for pool in pools)
            network = Network(identity, spec, resolved, bridge, time.time_ns())
            self._networks[identity] = network
            self._pools[identity] = pools
            self._store("network", identity, network.to_json())
            return network

    def default(self) -> Network:
        """The network that machines join when they name none; made when it is first asked for."""
        with self._lock:
            found = next((network for network in self._networks.values() if network.default), None)
            return found or self.create(NetworkSpec(BRIDGE))

    def inspect(self, name: str) -> Network:
        """The network of that name, id, or unambiguous beginning of an id.

        Raises NotFoundError, StateError when several ids begin so.
        """
        with self._lock:
            for network in self._networks.values():
                if name in (network.name, network.id):
                    return network
            found = [network for network in self._networks.values() if name and network.id.startswith(name)]
        if len(found) > 1:
            raise StateError(f"network {name}", f"{len(found)} ids begin so", "write more of it")
        if not found:
            raise NotFoundError(f"network {name}", "there is none of that name", "see gasang network ls")
        return found[0]

    def list(self) -> list[Network]:
        """All networks, oldest first."""
        with self._lock:
            return sorted(self._networks.values(), key=lambda network: network.created)

    def endpoints(self, network: str = "", machine: str = "") -> Sequence[Endpoint]:
        """The endpoints, of all or of one network (its id), of all or of one machine."""
        with self._lock:
            wanted = self._endpoints.values()
            return [item for item in wanted if network in ("", item.network) and machine in ("", item.machine)]

    def remove(self, name: str) -> Network:
        """Remove a network that no machine is in.

        Raises NotFoundError, StateError when a machine is in it or it is the default one.
        """
        with self._lock:
            network = self.inspect(name)
            members = self.endpoints(network.id)
            if network.default:
                raise StateError(f"network {network.name}", "it is the default one and stays")
            if members:
                inside = ", ".join(sorted(endpoint.name or endpoint.machine[:12] for endpoint in members))
                raise StateError(f"network {network.name}", f"machines are in it ({inside})", "disconnect them first")
            self._bridges.take_down([network], self._published())
            self._drop(network)
            return network

    def prune(self) -> Sequence[Network]:
        """Remove every network that no machine is in, except the default one; those removed."""
        with self._lock:
            used = {endpoint.network for endpoint in self._endpoints.values()}
            unused = [network for network in self._networks.values() if network.id not in used and not network.default]
            self._bridges.take_down(unused, self._published())
            for network in unused:
                self._drop(network)
            return unused

    # Endpoints

    def endpoint(self, identity: str) -> Endpoint:
        """The endpoint of that id, as it is now.

        Raises NotFoundError.
        """
        with self._lock:
            found = self._endpoints.get(identity)
        if found is None:
            raise NotFoundError(f"endpoint {identity[:12]}", "there is none of that id", "the machine has left the network")
        return found

    def connect(self, name: str, namespace: int, spec: EndpointSpec) -> Endpoint:
        """Join a machine, whose network namespace that descriptor is, to a network.

        Raises NotFoundError, UsageError, StateError (address or interface in use), OutOfSpaceError, NetlinkError, PermissionDeniedError.
        """
        with self._lock:
            network = self.inspect(name)
            bridge = self._raised(network)
            endpoint = self._place(network, spec)
            try:
                cables.plug(self._bridges.route, self._plug(network, endpoint, bridge), namespace)
                endpoint = replace(endpoint, dns=self._asked_by(network, endpoint.machine, namespace))
            except (GasangError, OSError):
                self._release(endpoint)
                self._bridges.unplug([endpoint.host_interface])
                raise
            self._enlist(endpoint)
            self._unused_since.pop(network.id, None)
            self._remember(endpoint)
            return endpoint

    def disconnect(self, endpoint: Endpoint, *, dying: bool = False) -> None:
        """Take a machine out of a network. `dying`: its namespace goes anyway, and the kernel takes the cable with it.

        An endpoint that is no more is no failure. Raises NetlinkError, PermissionDeniedError.
        """
        with self._lock:
            current = self._endpoints.pop(endpoint.id, None)
            if current is None:
                return
            self._withdraw(current)
            self._release(current)
            self._delist(current)
            self._store("endpoint", current.id, None)
            if not any(other.network == current.network for other in self._endpoints.values()):
                self._unused_since[current.network] = time.monotonic()
        if not dying:
            self._bridges.unplug([current.host_interface])

    def isolate(self, namespace: int) -> None:
        """A machine without a network: it has lo, up."""
        cables.loopback(namespace)

    def publish(self, endpoint: Endpoint, wanted: Sequence[PortSpec]) -> Sequence[Published]:
        """Publish ports of a machine, besides those that already are; all the new ones, or, raising, none.

        An internal network publishes nothing. Raises NotFoundError, UsageError, StateError when a port is in use, PermissionDeniedError.
        """
        with self._lock:
            current = self.endpoint(endpoint.id)
            network = self._networks[current.network]
            if network.spec.internal or not wanted:
                return ()
            machine = [address for family in (4, 6) if (address := current.address(family))]
            held: list[ports.Held] = []
            try:
                for spec in wanted:
                    held += ports.hold(spec, network.spec.publish_on, machine)
                published = tuple(item.port for item in held)
                self._bridges.publish(published, current.host_interface)
            except GasangError:
                for item in held:
                    item.socket.close()
                raise
            self._proxy.serve(held)
            self._remember(replace(current, published=current.published + published))
            return published

    def withdraw(self, endpoint: Endpoint) -> None:
        """Publish none of a machine's ports any more.

        Raises NotFoundError, NetlinkError.
        """
        with self._lock:
            current = self.endpoint(endpoint.id)
            self._withdraw(current)
            self._remember(replace(current, published=()))

    # The host

    def obstacles(self) -> Sequence[str]:
        """Sentences about what on this host keeps networks from working as they should; empty: nothing."""
        with self._lock:
            return self._bridges.obstacles()

    def resolv_conf(self, endpoint: Endpoint, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """The text of /etc/resolv.conf for a machine whose first endpoint this is; what is not given is the host's."""
        host = self._resolvers.now()
        own = ("ndots:0",) if endpoint.dns == (SERVER,) else host.options
        return text_for_machine(endpoint.dns, search or host.search, options or own)

    def tidy(self, linger: float = _LINGER) -> float | None:
        """Take off the host what no machine has used for `linger` seconds; in how many seconds to call again (None: no need).

        With the last network go the rules, and forwarding is as it was before.
        """
        with self._lock:
            now = time.monotonic()
            due = [identity for identity, since in self._unused_since.items() if now - since >= linger]
            gone = [self._networks[identity] for identity in due if identity in self._networks]
            for identity in due:
                del self._unused_since[identity]
            if gone:
                self._bridges.take_down(gone, self._published())
            return min((since + linger - now for since in self._unused_since.values()), default=None)

    def reconcile(self, machines: Mapping[str, int]) -> Sequence[str]:
        """After a crash: only `machines` (id, descriptor of its network namespace) live. What is on the host but nobody's is removed.

        Returns the names of interfaces that were removed.
        """
        with self._lock:
            for endpoint in [item for item in self._endpoints.values() if item.machine not in machines]:
                del self._endpoints[endpoint.id]
                self._release(endpoint)
                self._delist(endpoint)
                self._store("endpoint", endpoint.id, None)
            used = {endpoint.network for endpoint in self._endpoints.values()}
            kept = [network for network in self._networks.values() if network.id in used]
            lost = self._bridges.sweep([item.host_interface for item in self._endpoints.values()], [network.bridge for network in kept])
            missing = [network for network in kept if not self._bridges.adopt(network)]
            for network in missing:
                self._bridges.raise_up(network, ())
            if kept:
                self._bridges.write_rules(self._published())
            else:
                self._bridges.clear()
            self._hold_again()
            for machine, namespace in machines.items():
                if any(endpoint.dns == (SERVER,) for endpoint in self.endpoints(machine=machine)):
                    self._listen(machine, namespace)
            return lost

    # Within

    def _hold_again(self) -> None:
        """Hold the ports that are published; one that another program took while we were away stays published by its rule alone."""
        for port in self._published():
            with contextlib.suppress(GasangError):
                self._proxy.serve([ports.again(port)])

    def _raised(self, network: Network) -> int:
        number = self._bridges.number(network.id)
        return number if number is not None else self._bridges.raise_up(network, self._published())

    def _remember(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.id] = endpoint
        self._store("endpoint", endpoint.id, endpoint.to_json())

    def _asked_by(self, network: Network, machine: str, namespace: int) -> tuple[str, ...]:
        """Whom the machine asks for names: us where there are names, or where it cannot reach the host's resolvers itself."""
        if network.default and machine not in self._asking:
            reachable = self._resolvers.now().reachable_from_inside
            if reachable:
                return reachable
        if machine not in self._asking:
            self._listen(machine, namespace)
        return (SERVER,)

    def _listen(self, machine: str, namespace: int) -> None:
        self._dns.serve(machine, listen(namespace))
        self._asking.add(machine)

    def _enlist(self, endpoint: Endpoint) -> None:
        network = self._networks.get(endpoint.network)
        if network:
            with self._dns.lock:
                self._directory.add(endpoint, network.name, internal=network.spec.internal, named=not network.default)

    def _delist(self, endpoint: Endpoint) -> None:
        with self._dns.lock:
            self._directory.remove(endpoint)
        if endpoint.machine in self._asking and not self.endpoints(machine=endpoint.machine):
            self._asking.discard(endpoint.machine)
            self._dns.release(endpoint.machine)

    def _withdraw(self, endpoint: Endpoint) -> None:
        if endpoint.published:
            self._bridges.withdraw(endpoint.published)
            self._proxy.release(endpoint.published)
            self._bridges.forget_connections([address for family in (4, 6) if (address := endpoint.address(family))])

    def _published(self) -> Sequence[Published]:
        return [port for endpoint in self._endpoints.values() for port in endpoint.published]

    def _place(self, network: Network, spec: EndpointSpec) -> Endpoint:
        identity = names.new_id()
        interface = names.checked_interface(spec.interface)
        ipv4, ipv6 = self._take(network, spec)
        mac = names.checked_hardware_address(spec.mac) if spec.mac else names.machine_address(ipv4, identity)
        gateways = {pool.family: str(pool.gateway) for pool in self._pools[network.id]}
        routed = spec.default_route and not network.spec.internal
        return Endpoint(
            id=identity,
            network=network.id,
            machine=spec.machine,
            interface=interface,
            host_interface=names.cable(self._tag, identity),
            mac=mac,
            name=spec.name,
            aliases=spec.aliases,
            ipv4=ipv4,
            ipv6=ipv6,
            gateway4=gateways.get(4, "") if routed else "",
            gateway6=gateways.get(6, "") if routed else "",
            default_route=routed,
        )

    def _take(self, network: Network, spec: EndpointSpec) -> tuple[str, str]:
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

    def _plug(self, network: Network, endpoint: Endpoint, bridge: int) -> cables.Plug:
        return cables.Plug(
            endpoint.host_interface,
            bridge,
            not network.spec.icc,
            endpoint.interface,
            endpoint.mac,
            network.spec.mtu,
            tuple(text for text in (endpoint.ipv4, endpoint.ipv6) if text),
            tuple(text for text in (endpoint.gateway4, endpoint.gateway6) if text),
        )

    def _reserve(self, endpoint: Endpoint) -> None:
        for pool in self._pools.get(endpoint.network, ()):
            if address := endpoint.address(pool.family):
                pool.take(address)

    def _release(self, endpoint: Endpoint) -> None:
        for pool in self._pools.get(endpoint.network, ()):
            if address := endpoint.address(pool.family):
                pool.give(address)

    def _drop(self, network: Network) -> None:
        del self._networks[network.id]
        del self._pools[network.id]
        self._unused_since.pop(network.id, None)
        self._store("network", network.id, None)

    def _bridge_name(self, spec: NetworkSpec, identity: str) -> str:
        return self._bridges.free_name() if spec.name == BRIDGE else names.bridge(self._tag, identity)

    def _subnets(self, spec: NetworkSpec, identity: str) -> Sequence[SubnetSpec]:
        chosen = list(spec.subnets)
        families = {Pool(subnet).family for subnet in chosen}
        if 4 not in families:
            chosen.insert(0, SubnetSpec(str(subnets.free_ipv4([*subnets.in_use(self._bridges.route), *self._own()]))))
        if spec.ipv6 and 6 not in families:
            chosen.append(SubnetSpec(str(subnets.unique_local(identity))))
        return chosen

    def _own(self) -> Sequence[Any]:
        return [pool.subnet for pools in self._pools.values() for pool in pools]

    def _check_collisions(self, pools: Sequence[Pool]) -> None:
        if len({pool.family for pool in pools}) != len(pools):
            raise UsageError("subnets", "a network has one of each family", "make two networks")
        for pool in pools:
            for other in self._own():
                if other.version == pool.family and other.overlaps(pool.subnet):
                    raise StateError(f"subnet {pool.subnet}", f"another network has {other}", "choose one that does not overlap")
