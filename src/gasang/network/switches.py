"""The switches of networks whose driver is `switch`: processes of their own, between the machines' cables and the host.

    machine ═ eth0 ── gv… ┐                                 ┌ gs… (a tap): the host's address, its rules and routes
    machine ═ eth0 ── gv… ┴ the switch, with its namespace ─┴ packets of UDP ── other hosts (VXLAN)

The cables' ends on this side are in a namespace that belongs to the switch, where nobody has an address: the host's own stack never sees
a frame but through the tap, as from a network's bridge. A switch that ends is begun anew with all of its ports, and the cables stay
meanwhile, as the daemon holds their namespace too. One whose daemon ends goes on, and the next one finds it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, StateError
from gasang.host import netns, rtnetlink, sysctls
from gasang.host.netlink import ROUTE, NetlinkError, Socket
from gasang.host.tap import CSUM, TSO4, TSO6, TSO_ECN, Tap
from gasang.network import cables, overlay, placing
from gasang.network.capture.mirror import Mirror
from gasang.network.limits import limits_of
from gasang.network.place import Place
from gasang.network.spec import Endpoint, Network
from gasang.network.switch import handle, vxlan
from gasang.network.switch.handle import Handle
from gasang.network.switch.ports import Allowed, veth

UPLINK, TUNNEL = "uplink", "vxlan"
_YOUNG: Final = 1.0
"""A switch that ends sooner, in seconds, is not begun anew at once, but when a machine joins."""


@dataclass(slots=True)
class _Live:
    """A switch at work. `route` is a netlink socket of its namespace."""

    network: Network
    handle: Handle
    route: Socket
    begun: float
    watched: socket.socket | None = None


class Switches:
    """Those of one instance: a driver (drivers.py). Not thread-safe: its owner locks."""

    returns_frames = False

    def __init__(self, folder: Path, place: Place, lost: Callable[[str], None]) -> None:
        """`lost` is called in a thread of its own, with the id of a network whose switch has ended by itself."""
        self._folder = folder
        self._place = place
        self._lost = lost
        self._live: dict[str, _Live] = {}

    def close(self) -> None:
        """Let go of them; they go on."""
        while self._live:
            _let_go(self._live.popitem()[1])

    def make(self, network: Network, address: bytes) -> None:
        """The host's own place at a switch, a tap. It stays when that ends, with the addresses and routes that belong to it."""
        tap = Tap(network.bridge)
        try:
            with Socket(ROUTE) as route:
                route.send([rtnetlink.set_hardware_address(socket.if_nametoindex(network.bridge), address, network.spec.mtu)])
            tap.stay()
        finally:
            tap.close()

    def begin(self, network: Network, endpoints: Sequence[Endpoint]) -> None:
        """A switch for a network, whose tap is there: one that is there already with its ports, one that has ended anew, with all of them.

        Raises GasangError; where there was none, there is none then.
        """
        live = self._live.get(network.id)
        if live is None:
            self._begin(network)
        elif live.handle.is_alive():
            return
        else:
            self._begin_anew(network, live)
        ports = self._one(network.id).handle.ports
        for endpoint in [endpoint for endpoint in endpoints if endpoint.host_interface not in ports]:
            with contextlib.suppress(GasangError):  # a machine that ends just now has no cable any more
                self._add(network, endpoint)

    def _begin(self, network: Network) -> None:
        found = Handle.find(self._path(network))
        if found is None:
            namespace = netns.create()
            try:
                with netns.entered(namespace), contextlib.suppress(GasangError):
                    sysctls.write("net/ipv6/conf/default/disable_ipv6", "1")  # the ends of cables are to say nothing themselves
                found = Handle.start(self._path(network), namespace)
            finally:
                os.close(namespace)
        try:
            self._keep(network, found)
            self._lead_out(network)
        except (GasangError, OSError):
            self.end(network)
            raise

    def _begin_anew(self, network: Network, live: _Live) -> None:
        namespace = os.dup(live.handle.namespace)
        try:
            fresh = Handle.start(self._path(network), namespace)
        finally:
            os.close(namespace)
        _let_go(self._live.pop(network.id))
        self._keep(network, fresh)
        self._lead_out(network)

    def end(self, network: Network) -> None:
        """No switch, and no cables to it."""
        live = self._live.pop(network.id, None)
        if live is not None:
            _unwatch(live)
            live.route.close()
            live.handle.end()

    def plug(self, network: Network, endpoint: Endpoint, namespace: int) -> None:
        """A cable to a machine, whose namespace that descriptor is, and its port. Raises GasangError; then there is neither."""
        live = self._one(network.id)
        cables.plug(live.route, placing.plug(network, endpoint, 0), namespace)
        try:
            self._add(network, endpoint)
        except (GasangError, OSError):
            self.unplug(endpoint)
            raise

    def unplug(self, endpoint: Endpoint, *, dying: bool = False) -> Sequence[str]:
        """No port, and unless the kernel takes it away with its `dying` machine, no cable. Raises NetlinkError."""
        live = self._live.get(endpoint.network)
        if live is not None:
            with contextlib.suppress(GasangError):  # a switch that has ended has no ports
                live.handle.remove(endpoint.host_interface)
            if not dying:
                cables.unplug(live.route, [endpoint.host_interface])
        return ()

    def resume(self, kept: Sequence[tuple[Network, Sequence[Endpoint]]], machines: Mapping[str, int]) -> None:
        """As Outliving: switches go on alone, and one that has not is begun anew."""
        for network, endpoints in kept:
            with contextlib.suppress(GasangError):  # what keeps it from beginning, the next machine that joins is told
                self.begin(network, ())
                for endpoint in endpoints:
                    self._plug_again(network, endpoint, machines[endpoint.machine])
        self._sweep({network.id: [endpoint.host_interface for endpoint in endpoints] for network, endpoints in kept})

    def _plug_again(self, network: Network, endpoint: Endpoint, namespace: int) -> None:
        """What is missing of a machine's port and cable."""
        live = self._one(network.id)
        if endpoint.host_interface in live.handle.ports:
            return
        try:
            live.route.send([rtnetlink.get_link(endpoint.host_interface)])
        except NetlinkError:
            self.plug(network, endpoint, namespace)
        else:
            self._add(network, endpoint)

    def _sweep(self, kept: Mapping[str, Collection[str]]) -> None:
        """End the switches of other networks than `kept` (id → its cables' names), and take out ports that are nobody's."""
        paths = {self._folder / network[:12] for network in kept}
        for path in [path for path in handle.there(self._folder) if path not in paths]:
            found = Handle.find(path)
            if found is not None:
                found.end()
            path.unlink(missing_ok=True)
        for network, live in self._live.items():
            for name in set(live.handle.ports) - {UPLINK, TUNNEL, *kept.get(network, ())}:
                live.handle.remove(name)

    def counts(self, network: str) -> Mapping[str, Mapping[str, int]]:
        """Port (a cable's name, UPLINK, TUNNEL) → what has passed it; nothing where there is no switch."""
        live = self._live.get(network)
        return live.handle.counts() if live else {}

    def listen(self, network: Network) -> Mirror:
        """Hear every frame; the caller's to close. Raises GasangError."""
        live = self._one(network.id)
        made, number = live.handle.mirror()
        return Mirror(made, lambda: live.handle.missed(number))

    def _one(self, network: str) -> _Live:
        live = self._live.get(network)
        if live is None:
            raise StateError(f"network {network[:12]}", "its switch is not there", "restart the daemon")
        return live

    def _path(self, network: Network) -> Path:
        return self._folder / network.id[:12]

    def _keep(self, network: Network, found: Handle) -> None:
        with netns.entered(found.namespace):
            route = Socket(ROUTE)
        live = self._live[network.id] = _Live(network, found, route, time.monotonic(), found.watch())
        threading.Thread(target=self._watch, args=(live,), name=f"switch-{network.id[:8]}", daemon=True).start()

    def _watch(self, live: _Live) -> None:
        if live.watched is not None:
            with live.watched, contextlib.suppress(OSError):
                live.watched.recv(1)
        if live.handle.process:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(live.handle.process, 0)
        if self._live.get(live.network.id) is live and time.monotonic() - live.begun > _YOUNG:
            self._lost(live.network.id)

    def _lead_out(self, network: Network) -> None:
        """The ports that are no machine's, where they are missing."""
        live, limits = self._one(network.id), limits_of(network.spec.options)
        if UPLINK not in live.handle.ports:
            self._uplink(network, overlay.outward(network, limits, tunnel=False))
        wanted = overlay.vxlan_of(network.spec.options)
        if wanted is not None and TUNNEL not in live.handle.ports:
            descriptor = self._place.outside(lambda: vxlan.listening(wanted))
            try:
                live.handle.add(TUNNEL, descriptor, overlay.outward(network, limits, tunnel=True), wanted)
            finally:
                os.close(descriptor)

    def _uplink(self, network: Network, allowed: Allowed) -> None:
        tap = Tap(network.bridge, new=False)
        try:
            tap.join(CSUM | TSO4 | TSO6 | TSO_ECN)
            self._one(network.id).handle.add(UPLINK, tap.descriptor, allowed)
        finally:
            tap.close()
        with Socket(ROUTE) as route:
            route.send([rtnetlink.settle_link(socket.if_nametoindex(network.bridge))])

    def _add(self, network: Network, endpoint: Endpoint) -> None:
        live, limits = self._one(network.id), limits_of(network.spec.options)
        with netns.entered(live.handle.namespace):
            descriptor = veth(endpoint.host_interface, limits.vlan)
        try:
            live.handle.add(endpoint.host_interface, descriptor, overlay.allowed(network, endpoint, limits))
        finally:
            os.close(descriptor)


def _let_go(live: _Live) -> None:
    _unwatch(live)
    live.route.close()
    live.handle.close()


def _unwatch(live: _Live) -> None:
    if live.watched is not None:
        with contextlib.suppress(OSError):
            live.watched.shutdown(socket.SHUT_RDWR)
