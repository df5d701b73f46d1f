"""Ports of machines at the host's addresses: held, so that no other gets them, led to the machine by rules, served where rules cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial

from gasang.core.errors import GasangError
from gasang.network import ports
from gasang.network.bridges import Bridges
from gasang.network.place import Place
from gasang.network.proxy import Proxy
from gasang.network.spec import Endpoint, Network, PortSpec, Published


class Publishing:
    """What one instance publishes. Not thread-safe: its owner locks."""

    def __init__(self, bridges: Bridges, place: Place) -> None:
        self._bridges = bridges
        self._place = place
        self._proxy = Proxy()

    def close(self) -> None:
        """Serve no more; rules stay."""
        self._proxy.close()

    def publish(self, network: Network, endpoint: Endpoint, wanted: Sequence[PortSpec], hairpin: str) -> tuple[Published, ...]:
        """All the wanted ports, or, raising, none; `hairpin` as `Bridges.publish` has it.

        Raises UsageError, StateError when a port is in use, PermissionDeniedError.
        """
        addresses = [text for family in (4, 6) if (text := endpoint.address(family))]
        held = self._place.outside(lambda: ports.hold_all(wanted, network.spec.publish_on, addresses))
        published = tuple(item.port for item in held)
        try:
            self._bridges.publish(published, hairpin)
        except GasangError:
            ports.let_go(held)
            raise
        self._proxy.serve(held)
        return published

    def withdraw(self, endpoint: Endpoint) -> None:
        """None of an endpoint's ports any more; connections to its addresses are forgotten. Raises NetlinkError."""
        if endpoint.published:
            if self._bridges.number(endpoint.network) is not None:
                self._bridges.withdraw(endpoint.published)
            self._proxy.release(endpoint.published)
            self._bridges.forget_connections([text for family in (4, 6) if (text := endpoint.address(family))])

    def hold_again(self, published: Iterable[Published]) -> None:
        """Hold what was published before; what another program took while we were away stays published by its rule alone."""
        for port in published:
            with contextlib.suppress(GasangError):
                self._proxy.serve([self._place.outside(partial(ports.again, port))])
