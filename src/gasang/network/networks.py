"""The networks of this host: made, joined, left, listed. The one door to this room.

State is plain data: `{"network": {id: …}, "endpoint": {id: …}, "host": {"before": …}}`. It is handed in, and every change is handed to
`store(kind, id, value)` (value None: gone). What concerns the host's own settings is stored before it is done; the rest after, because
`reconcile` finds and removes what nobody remembers. Calls may come from any thread that is in the host's network namespace, also where
networks are in another (`place.py`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gasang.core.errors import GasangError, StateError
from gasang.network import cables, guests, names, placing
from gasang.network.bridges import Bridges
from gasang.network.capture.heard import Heard
from gasang.network.dns.upstream import PATH
from gasang.network.docker_coming import DockerComing
from gasang.network.drivers import Counting, Drivers, Ground
from gasang.network.forwarding import Before
from gasang.network.members import Members
from gasang.network.naming import Naming
from gasang.network.place import Here, Place, there
from gasang.network.presence import LINGER, Presence
from gasang.network.publishing import Publishing
from gasang.network.registry import Registry, Store
from gasang.network.spec import BRIDGE, Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec, Published
from gasang.network.telling import Telling


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
        self._lock = threading.RLock()
        self._members = Members(state.get("endpoint", {}), store)
        before = Before.from_json(state.get("host", {}).get("before", {}))
        self.place = place or Here()
        self._bridges = self.place.call(lambda: Bridges(tag, before, lambda value: store("host", "before", value.to_json())))
        self._registry = Registry(state.get("network", {}), tag, self._bridges, store)
        self._telling = Telling(Naming(resolv_conf, asks_from_here=self.place.is_apart), self._registry, self._members, tag)
        self._publishing = Publishing(self._bridges, self.place)
        self._drivers = Drivers(Ground(self._bridges, self.place, folder, self._lost))
        self._presence = Presence(self._registry, self._members, self._bridges, self._drivers)
        self._closed = False
        self._coming = None if self.place.is_apart else DockerComing(self._docker_came)
        for endpoint in self._members.all():
            self._registry.reserve(endpoint)
            self._telling.enlist(endpoint)

    def close(self) -> None:
        """Let go. Machines keep their networks. Done twice, it is done once."""
        if self._closed:
            return
        self._closed = True
        if self._coming is not None:
            self._coming.close()
        self._publishing.close()
        self._telling.close()
        self._bridges.close()
        self._drivers.close()
        self.place.close()

    # Networks

    @there
    def create(self, spec: NetworkSpec) -> Network:
        """A new network. Nothing is on the host before the first machine joins.

        Raises UsageError, StateError when the name or a subnet is taken, OutOfSpaceError when no subnet is free.
        """
        with self._lock:
            return self._registry.create(spec)

    @there
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

    @there
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
            self._presence.drop([network])
            return network

    @there
    def prune(self) -> Sequence[Network]:
        """Remove every network that no machine is in, except the default one; those removed."""
        with self._lock:
            used = self._members.networks()
            unused = [network for network in self._registry.all() if network.id not in used and not network.default]
            self._presence.drop(unused)
            return unused

    # Endpoints

    def endpoints(self, network: str = "", machine: str = "") -> Sequence[Endpoint]:
        """The endpoints, of all or of one network (its id), of all or of one machine."""
        with self._lock:
            return self._members.all(network, machine)

    def endpoint(self, identity: str) -> Endpoint:
        """The endpoint of that id, as it is now.

        Raises NotFoundError.
        """
        with self._lock:
            return self._members.one(identity)

    @there
    def connect(self, name: str, namespace: int, spec: EndpointSpec) -> Endpoint:
        """Join a machine, whose network namespace that descriptor is, to a network.

        Raises NotFoundError, UsageError, StateError (address or interface in use), OutOfSpaceError, NetlinkError, PermissionDeniedError.
        """
        with self._lock:
            network = self._registry.find(name)
            try:
                network = self._presence.raised(network)
                endpoint = self._joined(network, namespace, spec)
            except (GasangError, OSError):
                self._presence.note_unused(network.id)
                raise
            self._members.remember(endpoint)
            self._telling.enlist(endpoint)
            self._telling.answer(endpoint.machine, namespace)
            self._presence.note_used(network.id)
            return endpoint

    @there
    def disconnect(self, endpoint: Endpoint, *, dying: bool = False, namespace: int | None = None) -> None:
        """Take a machine out of a network. `dying`: its namespace goes anyway, and the kernel takes the cable with it.

        If it lives on, `namespace` (its descriptor) lets the default route move to another of its networks. An endpoint that is no more
        is no failure. Raises NetlinkError, PermissionDeniedError.
        """
        with self._lock:
            current = self._members.take(endpoint.id)
            if current is None:
                return
            self._forgotten(current)
            self._presence.note_unused(current.network)
            self._telling.keep_answering(current)
            network = self._registry.get(current.network)
            left = self._drivers.of(network).unplug(current, dying=dying) if network else [current.host_interface]
            if dying:
                self._presence.note_dying(left)
                return
        self._bridges.unplug(left)
        if namespace is not None and current.default_route:
            self._reroute(current.machine, namespace)

    def rename(self, machine: str, name: str) -> None:
        """The machine has another name now, also for the others."""
        with self._lock:
            for endpoint in self.endpoints(machine=machine):
                network = self._registry[endpoint.network]
                renamed = self._members.change(endpoint, name=name)
                self._telling.naming.replace(endpoint, renamed, network)

    @there
    def furnish(self, namespace: int, mtu: int = 0) -> int:
        """Make a namespace ready for a guest with a kernel of its own, before it is connected; its tap's descriptor, the caller's to close.

        Raises PermissionDeniedError, UnsupportedError where the host has no taps, NetlinkError.
        """
        return guests.furnish(namespace, mtu)

    @there
    def isolate(self, namespace: int) -> None:
        """A machine without a network: it has lo, up."""
        cables.loopback(namespace)

    @there
    def publish(self, endpoint: Endpoint, wanted: Sequence[PortSpec]) -> Sequence[Published]:
        """Publish ports of a machine, besides those that already are; all the new ones, or, raising, none.

        An internal network publishes nothing. Raises NotFoundError, UsageError, StateError when a port is in use, PermissionDeniedError.
        """
        with self._lock:
            current = self._members.one(endpoint.id)
            network = self._registry[current.network]
            if network.spec.internal or not wanted:
                return ()
            hairpin = current.host_interface if self._drivers.of(network).returns_frames else ""
            published = self._publishing.publish(network, current, wanted, hairpin)
            self._members.change(current, published=current.published + published)
            return published

    @there
    def withdraw(self, endpoint: Endpoint) -> None:
        """Publish none of a machine's ports any more.

        Raises NotFoundError, NetlinkError.
        """
        with self._lock:
            current = self._members.one(endpoint.id)
            self._publishing.withdraw(current)
            self._members.change(current, published=())

    @there
    def listen(self, name: str) -> Heard:
        """Hear every frame of a network; the caller's to close.

        Raises NotFoundError, StateError while nobody is in it, PermissionDeniedError, GasangError.
        """
        with self._lock:
            network = self._registry.find(name)
            if self._bridges.number(network.id) is None:
                raise StateError(f"network {network.name}", "no machine is in it, so nothing passes there", "start one in it first")
            return self._drivers.of(network).listen(network)

    def counts(self, network: Network) -> Mapping[str, Mapping[str, int]]:
        """What has passed a network's ports, where its driver counts: by machine, and `host` and `vxlan`. Raises GasangError."""
        with self._lock:
            if self._bridges.number(network.id) is None or not isinstance(driver := self._drivers.of(network), Counting):
                return {}
            found = dict(driver.counts(network.id))
            ends = {end.host_interface: end.machine for end in self.endpoints(network.id)}
        return {ends.get(name, "host" if name == "uplink" else name): counts for name, counts in found.items()}

    def resolv_conf(self, endpoint: Endpoint, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """The text of /etc/resolv.conf for a machine whose first endpoint this is; what is not given is the host's."""
        return self._telling.naming.resolv_conf(endpoint, search, options)

    # The host

    @there
    def obstacles(self) -> Sequence[str]:
        """Sentences about what on this host keeps networks from working as they should; empty: nothing."""
        with self._lock:
            return self._bridges.obstacles()

    @there
    def tidy(self, linger: float = LINGER) -> float | None:
        """Take off the host what no machine has used for `linger` seconds; in how many seconds to call again (None: no need).

        With the last network go the rules, and forwarding is as it was before. Cables of dead machines that are still there go too.
        """
        with self._lock:
            stuck, again = self._presence.tidy(linger)
        self._bridges.unplug(stuck)
        return again

    @there
    def reconcile(self, machines: Mapping[str, int]) -> Sequence[str]:
        """After a crash: only `machines` (id, descriptor of its network namespace) live. What is on the host but nobody's is removed.

        Returns the names of interfaces that were removed.
        """
        with self._lock:
            for endpoint in [item for item in self._members.all() if item.machine not in machines]:
                self._members.take(endpoint.id)
                self._forgotten(endpoint)
            lost = self._presence.recover(machines)
            self._publishing.hold_again(self._members.published())
            for machine, namespace in machines.items():
                self._telling.answer_again(machine, namespace)
            return lost

    # Within

    def _joined(self, network: Network, namespace: int, spec: EndpointSpec) -> Endpoint:
        endpoint = placing.place(self._registry, self._tag, network, spec, self.endpoints(machine=spec.machine))
        driver = self._drivers.of(network)
        try:
            driver.plug(network, endpoint, namespace)
            try:
                self._bridges.guards.add(placing.guarded(network, endpoint))
                return replace(endpoint, dns=self._telling.naming.asked_by(network, endpoint, namespace))
            except (GasangError, OSError):
                self._bridges.unplug(driver.unplug(endpoint))
                self._bridges.guards.remove(placing.guarded(network, endpoint))
                raise
        except (GasangError, OSError):
            self._registry.release(endpoint)
            raise

    def _docker_came(self) -> None:
        """Its rules are there now, or others."""
        with self._lock, contextlib.suppress(GasangError):
            if not self._closed:
                self._bridges.let_pass()

    @there
    def _lost(self, identity: str) -> None:
        """A driver has ended by itself what carried a network: it is begun anew."""
        with self._lock:
            network = self._registry.get(identity)
            if network and self._bridges.number(identity) is not None and not self._closed:
                with contextlib.suppress(GasangError):  # what keeps it from beginning, the next machine that joins is told
                    self._drivers.of(network).begin(network, self.endpoints(identity))

    def _reroute(self, machine: str, namespace: int) -> None:
        with self._lock:
            others = [item for item in self.endpoints(machine=machine) if item.gateway4 or item.gateway6]
            if others:
                if not others[0].guest:
                    cables.route_by(namespace, others[0].interface, [text for text in (others[0].gateway4, others[0].gateway6) if text])
                self._members.change(others[0], default_route=True)

    def _forgotten(self, endpoint: Endpoint) -> None:
        """What an endpoint had, besides its cable, is given back."""
        self._publishing.withdraw(endpoint)
        if network := self._registry.get(endpoint.network):
            self._bridges.guards.remove(placing.guarded(network, endpoint))
        self._registry.release(endpoint)
        self._telling.delist(endpoint)
        self._members.forget(endpoint)
