"""The networks of this host: made, joined, left, listed. The one door to this room.

State is plain data: `{"network": {id: …}, "endpoint": {id: …}, "host": {"before": …}}`. It is handed in, and every change is handed to
`store(kind, id, value)` (value None: gone). What concerns the host's own settings is stored before it is done; the rest after, because
`reconcile` finds and removes what nobody remembers. Calls may come from any thread that is in the host's network namespace, also where
networks are in another (`place.py`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from gasang.core.errors import GasangError, NotFoundError, StateError, UnsupportedError
from gasang.network import cables, guests, names, placing, ports
from gasang.network.bridges import Bridges
from gasang.network.capture.listener import Listener
from gasang.network.dhcp.inside import Inside
from gasang.network.dns.upstream import PATH, SERVER
from gasang.network.forwarding import Before
from gasang.network.guarding import Guarded
from gasang.network.naming import Naming
from gasang.network.place import Here, Place
from gasang.network.proxy import Proxy
from gasang.network.registry import Registry, Store
from gasang.network.spec import BRIDGE, SWITCH, Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec, Published

if TYPE_CHECKING:
    from gasang.network.capture.mirror import Mirror
    from gasang.network.switches import Switches

_LINGER: Final = 10.0
# A dead machine's cable goes within milliseconds; one that is there after this long is held by somebody else.
_DYING: Final = 2.0
Given = ParamSpec("Given")
Result = TypeVar("Result")


def _there(method: Callable[Concatenate[Networks, Given], Result]) -> Callable[Concatenate[Networks, Given], Result]:
    """A method that is carried out where the networks are."""

    @wraps(method)
    def carried_out(self: Networks, /, *words: Given.args, **named: Given.kwargs) -> Result:
        return self.place.call(lambda: method(self, *words, **named))

    return carried_out


def _forget(_kind: str, _identity: str, _value: dict[str, Any] | None) -> None:
    """Nothing is stored."""


class Networks:
    """All networks of one instance, in the network namespace of the thread that makes this, or at another place."""

    def __init__(
        self,
        state: Mapping[str, Mapping[str, Any]],
        *,
        tag: str,
        store: Store = _forget,
        resolv_conf: str = PATH,
        place: Place | None = None,
        folder: Path | None = None,
    ) -> None:
        """`tag` is `names.tag_of` what tells this instance from others; `resolv_conf` names the host's resolvers.

        In `folder` are the sockets of switches; without one there are no networks of that driver. Raises BadInputError when the state is
        damaged, UnsupportedError where the kernel has no netlink.
        """
        self._tag = names.checked_tag(tag)
        self._store = store
        self._lock = threading.RLock()
        self._endpoints = {key: Endpoint.from_json(value) for key, value in state.get("endpoint", {}).items()}
        before = Before.from_json(state.get("host", {}).get("before", {}))
        self.place = place or Here()
        self._bridges = self.place.call(lambda: Bridges(tag, before, lambda value: store("host", "before", value.to_json())))
        self._registry = Registry(state.get("network", {}), tag, self._bridges, store)
        self._naming = Naming(resolv_conf, asks_from_here=self.place.is_apart)
        self._folder = folder
        self._proxy = Proxy()
        self._addressing = Inside()
        self._unused_since: dict[str, float] = {}
        self._dying_since: dict[str, float] = {}
        self._closed = False
        for endpoint in self._endpoints.values():
            self._registry.reserve(endpoint)
            self._enlist(endpoint)

    def close(self) -> None:
        """Let go. Machines keep their networks. Done twice, it is done once."""
        if self._closed:
            return
        self._closed = True
        self._proxy.close()
        self._addressing.close()
        self._naming.close()
        self._bridges.close()
        if "_switches" in self.__dict__:
            self._switches.close()
        self.place.close()

    # Networks

    @_there
    def create(self, spec: NetworkSpec) -> Network:
        """A new network. Nothing is on the host before the first machine joins.

        Raises UsageError, StateError when the name or a subnet is taken, OutOfSpaceError when no subnet is free.
        """
        with self._lock:
            return self._registry.create(spec)

    @_there
    def default(self, spec: NetworkSpec | None = None) -> Network:
        """The network that machines join when they name none; made when it is first asked for, as `spec` says (its name is "bridge")."""
        with self._lock:
            found = next((network for network in self._registry.all() if network.default), None)
            return found or self._registry.create(replace(spec, name=BRIDGE) if spec else NetworkSpec(BRIDGE))

    def inspect(self, name: str) -> Network:
        """The network of that name, id, or unambiguous beginning of an id.

        Raises NotFoundError, StateError when several ids begin so.
        """
        with self._lock:
            return self._registry.find(name)

    def list(self) -> Sequence[Network]:
        """All networks, oldest first."""
        with self._lock:
            return self._registry.all()

    @_there
    def remove(self, name: str) -> Network:
        """Remove a network that no machine is in.

        Raises NotFoundError, StateError when a machine is in it or it is the default one.
        """
        with self._lock:
            network = self._registry.find(name)
            members = self.endpoints(network.id)
            if network.default:
                raise StateError(f"network {network.name}", "it is the default one and stays")
            if members:
                inside = ", ".join(sorted(endpoint.name or endpoint.machine[:12] for endpoint in members))
                raise StateError(f"network {network.name}", f"machines are in it ({inside})", "disconnect them first")
            self._drop([network])
            return network

    @_there
    def prune(self) -> Sequence[Network]:
        """Remove every network that no machine is in, except the default one; those removed."""
        with self._lock:
            used = {endpoint.network for endpoint in self._endpoints.values()}
            unused = [network for network in self._registry.all() if network.id not in used and not network.default]
            self._drop(unused)
            return unused

    # Endpoints

    def endpoints(self, network: str = "", machine: str = "") -> Sequence[Endpoint]:
        """The endpoints, of all or of one network (its id), of all or of one machine."""
        with self._lock:
            wanted = self._endpoints.values()
            return [item for item in wanted if network in ("", item.network) and machine in ("", item.machine)]

    def endpoint(self, identity: str) -> Endpoint:
        """The endpoint of that id, as it is now.

        Raises NotFoundError.
        """
        with self._lock:
            found = self._endpoints.get(identity)
        if found is None:
            raise NotFoundError(f"endpoint {identity[:12]}", "there is none of that id", "the machine has left the network")
        return found

    @_there
    def connect(self, name: str, namespace: int, spec: EndpointSpec) -> Endpoint:
        """Join a machine, whose network namespace that descriptor is, to a network.

        Raises NotFoundError, UsageError, StateError (address or interface in use), OutOfSpaceError, NetlinkError, PermissionDeniedError.
        """
        with self._lock:
            network = self._registry.find(name)
            try:
                network, bridge = self._raised(network)
                endpoint = self._joined(network, bridge, namespace, spec)
            except (GasangError, OSError):
                self._note_unused(network.id)
                raise
            self._remember(endpoint)
            self._enlist(endpoint)
            self._answer(endpoint.machine, namespace)
            self._unused_since.pop(network.id, None)
            return endpoint

    @_there
    def disconnect(self, endpoint: Endpoint, *, dying: bool = False, namespace: int | None = None) -> None:
        """Take a machine out of a network. `dying`: its namespace goes anyway, and the kernel takes the cable with it.

        If it lives on, `namespace` (its descriptor) lets the default route move to another of its networks. An endpoint that is no more
        is no failure. Raises NetlinkError, PermissionDeniedError.
        """
        with self._lock:
            current = self._endpoints.pop(endpoint.id, None)
            if current is None:
                return
            self._forgotten(current)
            self._note_unused(current.network)
            self._keep_answering(current)
            if dying and self._is_switched(current):
                self._switches.unplug(current, dying=True)
                return
            if dying:
                self._dying_since[current.host_interface] = time.monotonic()
                return
            if self._is_switched(current):
                self._switches.unplug(current)
        self._bridges.unplug([current.host_interface])
        if namespace is not None and current.default_route:
            self._reroute(current.machine, namespace)

    def rename(self, machine: str, name: str) -> None:
        """The machine has another name now, also for the others."""
        with self._lock:
            for endpoint in self.endpoints(machine=machine):
                network = self._registry[endpoint.network]
                renamed = replace(endpoint, name=name)
                self._naming.replace(endpoint, renamed, network)
                self._remember(renamed)

    @_there
    def furnish(self, namespace: int, mtu: int = 0) -> int:
        """Make a namespace ready for a guest with a kernel of its own, before it is connected; its tap's descriptor, the caller's to close.

        Raises PermissionDeniedError, UnsupportedError where the host has no taps, NetlinkError.
        """
        return guests.furnish(namespace, mtu)

    @_there
    def isolate(self, namespace: int) -> None:
        """A machine without a network: it has lo, up."""
        cables.loopback(namespace)

    @_there
    def publish(self, endpoint: Endpoint, wanted: Sequence[PortSpec]) -> Sequence[Published]:
        """Publish ports of a machine, besides those that already are; all the new ones, or, raising, none.

        An internal network publishes nothing. Raises NotFoundError, UsageError, StateError when a port is in use, PermissionDeniedError.
        """
        with self._lock:
            current = self.endpoint(endpoint.id)
            network = self._registry[current.network]
            if network.spec.internal or not wanted:
                return ()
            addresses = [text for family in (4, 6) if (text := current.address(family))]
            held = self.place.outside(lambda: ports.hold_all(wanted, network.spec.publish_on, addresses))
            published = tuple(item.port for item in held)
            try:
                self._bridges.publish(published, "" if network.spec.driver == SWITCH else current.host_interface)
            except GasangError:
                ports.let_go(held)
                raise
            self._proxy.serve(held)
            self._remember(replace(current, published=current.published + published))
            return published

    @_there
    def withdraw(self, endpoint: Endpoint) -> None:
        """Publish none of a machine's ports any more.

        Raises NotFoundError, NetlinkError.
        """
        with self._lock:
            current = self.endpoint(endpoint.id)
            self._withdraw(current)
            self._remember(replace(current, published=()))

    @_there
    def listen(self, name: str) -> Listener | Mirror:
        """Hear every frame of a network; the caller's to close.

        Raises NotFoundError, StateError while nobody is in it, PermissionDeniedError, GasangError.
        """
        with self._lock:
            network = self._registry.find(name)
            if self._bridges.number(network.id) is None:
                raise StateError(f"network {network.name}", "no machine is in it, so nothing passes there", "start one in it first")
            return self._switches.listen(network) if network.spec.driver == SWITCH else Listener(network.bridge)

    def counts(self, network: Network) -> Mapping[str, Mapping[str, int]]:
        """What has passed the ports of a network on a switch: by machine, and `host` and `vxlan`; nothing of others. Raises GasangError."""
        if network.spec.driver != SWITCH:
            return {}
        with self._lock:
            found = dict(self._switches.counts(network.id))
            ends = {end.host_interface: end.machine for end in self.endpoints(network.id)}
        return {ends.get(name, "host" if name == "uplink" else name): counts for name, counts in found.items()}

    def resolv_conf(self, endpoint: Endpoint, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """The text of /etc/resolv.conf for a machine whose first endpoint this is; what is not given is the host's."""
        return self._naming.resolv_conf(endpoint, search, options)

    # The host

    @_there
    def obstacles(self) -> Sequence[str]:
        """Sentences about what on this host keeps networks from working as they should; empty: nothing."""
        with self._lock:
            return self._bridges.obstacles()

    @_there
    def tidy(self, linger: float = _LINGER) -> float | None:
        """Take off the host what no machine has used for `linger` seconds; in how many seconds to call again (None: no need).

        With the last network go the rules, and forwarding is as it was before. Cables of dead machines that are still there go too.
        """
        with self._lock:
            now = time.monotonic()
            stuck = _due(self._dying_since, now - min(_DYING, linger))
            gone = [network for identity in _due(self._unused_since, now - linger) if (network := self._registry.get(identity))]
            if gone:
                self._end_switches(gone)
                self._bridges.take_down(gone, self._published())
            waits = [since + linger - now for since in self._unused_since.values()]
            waits += [since + _DYING - now for since in self._dying_since.values()]
        self._bridges.unplug(stuck)
        return max(0.0, min(waits)) if waits else None

    @_there
    def reconcile(self, machines: Mapping[str, int]) -> Sequence[str]:
        """After a crash: only `machines` (id, descriptor of its network namespace) live. What is on the host but nobody's is removed.

        Returns the names of interfaces that were removed.
        """
        with self._lock:
            for endpoint in [item for item in self._endpoints.values() if item.machine not in machines]:
                del self._endpoints[endpoint.id]
                self._forgotten(endpoint)
            used = {endpoint.network for endpoint in self._endpoints.values()}
            kept = [network for network in self._registry.all() if network.id in used]
            lost = self._bridges.sweep([item.host_interface for item in self._endpoints.values()], [network.bridge for network in kept])
            for network in [network for network in kept if not self._bridges.adopt(network)]:
                self._bridges.raise_up(network, ())
            if kept:
                self._bridges.write_rules(self._published())
                self._bridges.guards.write(self._guarded())
            else:
                self._bridges.clear()
            self._switch_again(kept, machines)
            self._hold_again()
            for machine, namespace in machines.items():
                asking = [endpoint for endpoint in self.endpoints(machine=machine) if endpoint.dns == (SERVER,)]
                if asking:
                    self._naming.listen(asking[0], namespace)
                self._answer(machine, namespace)
            return lost

    # Within

    def _raised(self, network: Network) -> tuple[Network, int]:
        number = self._bridges.number(network.id)
        if number is not None:
            self._bridges.mend(self._published())
            if placing.bridged(network).rules and self._bridges.guards.lost():
                self._bridges.guards.write(self._guarded())
            if network.spec.driver == SWITCH:
                self._switches.mend(network, self.endpoints(network.id))
            return network, number
        if not self.endpoints(network.id):
            network = self._registry.refreshed(network)
        number = self._bridges.raise_up(network, self._published())
        if network.spec.driver == SWITCH:
            try:
                self._switches.begin(network)
            except (GasangError, OSError):
                self._bridges.take_down([network], self._published())
                raise
        return network, number

    def _joined(self, network: Network, bridge: int, namespace: int, spec: EndpointSpec) -> Endpoint:
        endpoint = placing.place(self._registry, self._tag, network, spec, self.endpoints(machine=spec.machine))
        try:
            if network.spec.driver == SWITCH:
                self._switches.plug(network, endpoint, namespace)
            else:
                cables.plug(self._bridges.route, placing.plug(network, endpoint, bridge), namespace)
            try:
                self._bridges.guards.add(placing.guarded(network, endpoint))
                return replace(endpoint, dns=self._naming.asked_by(network, endpoint, namespace))
            except (GasangError, OSError):
                if network.spec.driver == SWITCH:
                    self._switches.unplug(endpoint)
                self._bridges.unplug([endpoint.host_interface])
                self._bridges.guards.remove(placing.guarded(network, endpoint))
                raise
        except (GasangError, OSError):
            self._registry.release(endpoint)
            raise

    @cached_property
    def _switches(self) -> Switches:
        from gasang.network.switches import Switches

        if self._folder is None:
            raise UnsupportedError("network on a switch", "there is no place for its socket", "use the driver bridge")
        return Switches(self._folder, self.place, self._lost)

    def _is_switched(self, endpoint: Endpoint) -> bool:
        network = self._registry.get(endpoint.network)
        return network is not None and network.spec.driver == SWITCH

    @_there
    def _lost(self, identity: str) -> None:
        """A switch has ended by itself: it is begun anew."""
        with self._lock:
            network = self._registry.get(identity)
            if network and self._bridges.number(identity) is not None and not self._closed:
                with contextlib.suppress(GasangError):  # what keeps it from beginning, the next machine that joins is told
                    self._switches.mend(network, self.endpoints(identity))

    def _end_switches(self, gone: Sequence[Network]) -> None:
        for network in gone:
            if network.spec.driver == SWITCH:
                self._switches.end(network)

    def _switch_again(self, kept: Sequence[Network], machines: Mapping[str, int]) -> None:
        """Find the switches again, and give machines what they miss of cables and ports."""
        switched = [network for network in kept if network.spec.driver == SWITCH]
        for network in switched:
            with contextlib.suppress(GasangError):  # as above
                self._switches.begin(network)
                for endpoint in self.endpoints(network.id):
                    self._switches.plug_again(network, endpoint, machines[endpoint.machine])
        if self._folder is not None and (switched or self._folder.exists()):
            self._switches.sweep({network.id: [end.host_interface for end in self.endpoints(network.id)] for network in switched})

    def _answer(self, machine: str, namespace: int) -> None:
        """Tell a guest that asks who it is in the network by which its default route goes, or else in its first."""
        ends = [end for end in self.endpoints(machine=machine) if end.guest]
        end = next((end for end in ends if end.default_route), next(iter(ends), None))
        network = self._registry.get(end.network) if end else None
        if end and network:
            self._addressing.serve(machine, namespace, placing.asking(self._tag, network, end))

    def _keep_answering(self, gone: Endpoint) -> None:
        """A machine that was told to ask us goes on asking, in networks without names too; so the next daemon must answer it again."""
        others = self.endpoints(machine=gone.machine)
        if others and gone.dns == (SERVER,) and not any(other.dns == (SERVER,) for other in others):
            self._remember(replace(others[0], dns=gone.dns))

    def _reroute(self, machine: str, namespace: int) -> None:
        with self._lock:
            others = [item for item in self.endpoints(machine=machine) if item.gateway4 or item.gateway6]
            if others:
                if not others[0].guest:
                    cables.route_by(namespace, others[0].interface, [text for text in (others[0].gateway4, others[0].gateway6) if text])
                self._remember(replace(others[0], default_route=True))

    def _remember(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.id] = endpoint
        self._store("endpoint", endpoint.id, endpoint.to_json())

    def _forgotten(self, endpoint: Endpoint) -> None:
        """What an endpoint had, besides its cable, is given back."""
        self._withdraw(endpoint)
        if network := self._registry.get(endpoint.network):
            self._bridges.guards.remove(placing.guarded(network, endpoint))
        self._registry.release(endpoint)
        last = not self.endpoints(machine=endpoint.machine)
        self._naming.delist(endpoint, last=last)
        if last and endpoint.guest:
            self._addressing.release(endpoint.machine)
        self._store("endpoint", endpoint.id, None)

    def _enlist(self, endpoint: Endpoint) -> None:
        network = self._registry.get(endpoint.network)
        if network:
            self._naming.enlist(endpoint, network)

    def _withdraw(self, endpoint: Endpoint) -> None:
        if endpoint.published:
            if self._bridges.number(endpoint.network) is not None:
                self._bridges.withdraw(endpoint.published)
            self._proxy.release(endpoint.published)
            self._bridges.forget_connections([text for family in (4, 6) if (text := endpoint.address(family))])

    def _published(self) -> Sequence[Published]:
        return [port for endpoint in self._endpoints.values() for port in endpoint.published]

    def _guarded(self) -> Sequence[Guarded]:
        return [placing.guarded(network, end) for end in self._endpoints.values() if (network := self._registry.get(end.network))]

    def _hold_again(self) -> None:
        """Hold the ports that are published; one that another program took while we were away stays published by its rule alone."""
        for port in self._published():
            with contextlib.suppress(GasangError):
                self._proxy.serve([self.place.outside(partial(ports.again, port))])

    def _note_unused(self, network: str) -> None:
        if not any(endpoint.network == network for endpoint in self._endpoints.values()):
            self._unused_since[network] = time.monotonic()

    def _drop(self, unused: Sequence[Network]) -> None:
        self._end_switches(unused)
        self._bridges.take_down(unused, self._published())
        for network in unused:
            self._registry.drop(network)
            self._unused_since.pop(network.id, None)


def _due(since: dict[str, float], before: float) -> list[str]:
    """Take out those that have been in there since `before`."""
    due = [key for key, when in since.items() if when <= before]
    for key in due:
        del since[key]
    return due
