"""Drivers: what carries the frames of a network. A network names one, and all that is particular to it is behind `Driver`.

A driver may keep more of itself: processes that outlive the daemon (`Outliving`), counts by port (`Counting`). Adding one is a file that
implements the protocol, and a line in `DRIVERS`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from gasang.core.errors import StateError, UnsupportedError
from gasang.host import rtnetlink
from gasang.host.netlink import NetlinkError
from gasang.network import cables, placing
from gasang.network.bridges import Bridges
from gasang.network.capture.heard import Heard
from gasang.network.capture.listener import Listener
from gasang.network.place import Place
from gasang.network.spec import BRIDGE, SWITCH, Endpoint, Network


class Driver(Protocol):
    """Carries the frames of networks. Not thread-safe: its owner locks. Everything may raise NetlinkError, PermissionDeniedError."""

    returns_frames: bool
    """Whether a port has to be told to send a frame back where it came from: to a machine that calls its own published port."""

    def make(self, network: Network, address: bytes) -> None:
        """The host's own interface in a network, called `network.bridge`, with that hardware address. Raises GasangError."""
        ...

    def begin(self, network: Network, endpoints: Sequence[Endpoint]) -> None:
        """Carry its frames, between those that are in it too; done again, it mends what has ended meanwhile. Raises GasangError."""
        ...

    def end(self, network: Network) -> None:
        """Carry them no more. The host's interface stays."""
        ...

    def plug(self, network: Network, endpoint: Endpoint, namespace: int) -> None:
        """Connect a machine, whose namespace that descriptor is. Raises GasangError; then there is no cable."""
        ...

    def unplug(self, endpoint: Endpoint, *, dying: bool = False) -> Sequence[str]:
        """Take a machine out; what is left of its cable in the host's namespace, for the caller to delete where that holds up nobody.

        `dying`: the kernel takes the cable away together with its machine.
        """
        ...

    def listen(self, network: Network) -> Heard:
        """Hear every frame; the caller's to close. Raises GasangError."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A driver that counts by port."""

    def counts(self, network: str) -> Mapping[str, Mapping[str, int]]:
        """Port (a cable's name, or the driver's own word) → what has passed it. Raises GasangError."""
        ...


@runtime_checkable
class Outliving(Protocol):
    """A driver whose work goes on when the daemon ends."""

    def resume(self, kept: Sequence[tuple[Network, Sequence[Endpoint]]], machines: Mapping[str, int]) -> None:
        """After a crash: find it again, give machines (id → namespace) what they miss, and end what belongs to no network of `kept`."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A driver that holds something of the host."""

    def close(self) -> None:
        """Let go of it."""
        ...


class Bridged:
    """A bridge of the kernel for each network."""

    returns_frames = True

    def __init__(self, bridges: Bridges) -> None:
        self._bridges = bridges

    def make(self, network: Network, address: bytes) -> None:
        """The bridge. Raises StateError where the host has an interface of its name, NetlinkError, PermissionDeniedError."""
        try:
            self._bridges.route.send([rtnetlink.new_bridge(network.bridge, address, network.spec.mtu)])
        except NetlinkError as error:
            if error.number != errno.EEXIST:
                raise
            subject, cause = f"bridge {network.bridge} of network {network.name}", "an interface of that name is there and not ours"
            raise StateError(subject, cause, "remove that one, or make the network with another name for its bridge") from error

    def begin(self, network: Network, endpoints: Sequence[Endpoint]) -> None:
        """The kernel does."""

    def end(self, network: Network) -> None:
        """It ends with its bridge."""

    def plug(self, network: Network, endpoint: Endpoint, namespace: int) -> None:
        """As Driver."""
        bridge = self._bridges.number(network.id)
        if bridge is None:
            raise StateError(f"network {network.name}", "its bridge is not there", "restart the daemon")
        cables.plug(self._bridges.route, placing.plug(network, endpoint, bridge), namespace)

    def unplug(self, endpoint: Endpoint, *, dying: bool = False) -> Sequence[str]:
        """As Driver: its cable is in the host's namespace, and deleting it makes the kernel wait."""
        return [endpoint.host_interface]

    def listen(self, network: Network) -> Listener:
        """As Driver."""
        return Listener(network.bridge)


@dataclass(frozen=True, slots=True)
class Ground:
    """What drivers stand on. In `folder` are their sockets; `lost` is told, in any thread, the id of a network that is carried no more."""

    bridges: Bridges
    place: Place
    folder: Path | None
    lost: Callable[[str], None]


def _switched(ground: Ground) -> Driver:
    from gasang.network.switches import Switches  # with its compiled code: few need it

    if ground.folder is None:
        raise UnsupportedError("network on a switch", "there is no place for its socket", f"use the driver {BRIDGE}")
    return Switches(ground.folder, ground.place, ground.lost)


DRIVERS: Final[Mapping[str, Callable[[Ground], Driver]]] = {BRIDGE: lambda ground: Bridged(ground.bridges), SWITCH: _switched}
"""All of them, by the name that a network's specification has."""


class Drivers:
    """Those of one instance, each made when it is needed first."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._made: dict[str, Driver] = {}

    def of(self, network: Network) -> Driver:
        """A network's. Raises UnsupportedError where there cannot be any."""
        return self._named(network.spec.driver)

    def close(self) -> None:
        """Let go of what goes on alone."""
        for driver in self._made.values():
            if isinstance(driver, Closing):
                driver.close()

    def resume(self, kept: Sequence[tuple[Network, Sequence[Endpoint]]], machines: Mapping[str, int]) -> None:
        """After a crash, as `Outliving` has it, of all drivers."""
        folder = self._ground.folder
        left = folder is not None and folder.exists()
        for name in DRIVERS:
            mine = [(network, endpoints) for network, endpoints in kept if network.spec.driver == name]
            if mine or left:
                driver = self._named(name)
                if isinstance(driver, Outliving):
                    driver.resume(mine, machines)

    def _named(self, name: str) -> Driver:
        if name not in self._made:
            self._made[name] = DRIVERS[name](self._ground)
        return self._made[name]
