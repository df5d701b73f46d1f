"""Which networks are on the host: put there when the first machine comes, taken off when none has been in them for a while.

What is on the host and nobody's, after a crash, is found and removed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from gasang.core.errors import GasangError
from gasang.network import placing
from gasang.network.bridges import Bridges
from gasang.network.drivers import Drivers
from gasang.network.guarding import Guarded
from gasang.network.members import Members
from gasang.network.registry import Registry
from gasang.network.spec import Network

LINGER: Final = 10.0
"""Seconds that a network stays on the host without machines."""
# A dead machine's cable goes within milliseconds; one that is there after this long is held by somebody else.
_DYING: Final = 2.0


class Presence:
    """Brings networks onto the host and off it. Not thread-safe: its owner locks."""

    def __init__(self, registry: Registry, members: Members, bridges: Bridges, drivers: Drivers) -> None:
        self._registry = registry
        self._members = members
        self._bridges = bridges
        self._drivers = drivers
        self._unused_since: dict[str, float] = {}
        self._dying_since: dict[str, float] = {}

    def raised(self, network: Network) -> Network:
        """The network, which is on the host now, whole; its subnet may be another if nobody was in it. Raises GasangError."""
        driver = self._drivers.of(network)
        if self._bridges.number(network.id) is not None:
            self._bridges.mend(self._members.published())
            if placing.bridged(network).rules and self._bridges.guards.lost():
                self._bridges.guards.write(self._guarded())
            driver.begin(network, self._members.all(network.id))
            return network
        if not self._members.all(network.id):
            network = self._registry.refreshed(network)
        self._bridges.raise_up(network, self._members.published(), driver.make)
        try:
            driver.begin(network, self._members.all(network.id))
        except (GasangError, OSError):
            self._bridges.take_down([network], self._members.published())
            raise
        return network

    def note_used(self, network: str) -> None:
        """A machine is in it."""
        self._unused_since.pop(network, None)

    def note_unused(self, network: str) -> None:
        """A machine has left it, perhaps the last one."""
        if network not in self._members.networks():
            self._unused_since[network] = time.monotonic()

    def note_dying(self, cables: Sequence[str]) -> None:
        """The kernel is about to take these cables of the host's away."""
        now = time.monotonic()
        self._dying_since.update(dict.fromkeys(cables, now))

    def tidy(self, linger: float) -> tuple[list[str], float | None]:
        """Take off what no machine has used for `linger` seconds: (cables of the dead that are there still, seconds to the next time)."""
        now = time.monotonic()
        stuck = _due(self._dying_since, now - min(_DYING, linger))
        gone = [network for identity in _due(self._unused_since, now - linger) if (network := self._registry.get(identity))]
        if gone:
            self._take_off(gone)
        waits = [since + linger - now for since in self._unused_since.values()]
        waits += [since + _DYING - now for since in self._dying_since.values()]
        return stuck, max(0.0, min(waits)) if waits else None

    def drop(self, unused: Sequence[Network]) -> None:
        """These networks are no more."""
        self._take_off(unused)
        for network in unused:
            self._registry.drop(network)
            self.note_used(network.id)

    def recover(self, machines: Mapping[str, int]) -> list[str]:
        """After a crash, with the endpoints of `machines` (id → namespace) alone left: interfaces that were removed, by name."""
        used = self._members.networks()
        kept = [network for network in self._registry.all() if network.id in used]
        lost = self._bridges.sweep([item.host_interface for item in self._members.all()], [network.bridge for network in kept])
        for network in [network for network in kept if not self._bridges.adopt(network)]:
            self._bridges.raise_up(network, (), self._drivers.of(network).make)
        if kept:
            self._bridges.write_rules(self._members.published())
            self._bridges.guards.write(self._guarded())
        else:
            self._bridges.clear()
        self._drivers.resume([(network, self._members.all(network.id)) for network in kept], machines)
        return lost

    def _guarded(self) -> Sequence[Guarded]:
        return [placing.guarded(network, end) for end in self._members.all() if (network := self._registry.get(end.network))]

    def _take_off(self, gone: Sequence[Network]) -> None:
        for network in gone:
            if self._bridges.number(network.id) is not None:
                self._drivers.of(network).end(network)
        self._bridges.take_down(gone, self._members.published())


def _due(since: dict[str, float], before: float) -> list[str]:
    """Take out those that have been in there since `before`."""
    due = [key for key, when in since.items() if when <= before]
    for key in due:
        del since[key]
    return due
