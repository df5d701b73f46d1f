"""Names for machines, in one piece: who is in the directory, who has a DNS server inside, whom a machine is told to ask."""

from __future__ import annotations

from collections.abc import Sequence

from gasang.network import guests
from gasang.network.dns.directory import Directory
from gasang.network.dns.inside import listen
from gasang.network.dns.server import Server
from gasang.network.dns.upstream import SERVER, Watched, text_for_machine
from gasang.network.spec import Endpoint, Network


class Naming:
    """The directory and its server. Not thread-safe: its owner locks."""

    def __init__(self, resolv_conf: str, *, asks_from_here: bool = False) -> None:
        """`asks_from_here`: the host's resolvers are asked where this is made, whoever calls later."""
        self._directory = Directory()
        self._server = Server(self._directory, resolv_conf)
        self._asks_from_here = asks_from_here
        if asks_from_here:
            self._server.begin()
        self._host = Watched(resolv_conf)
        self._asking: set[str] = set()

    def close(self) -> None:
        """Stop answering."""
        self._server.close()

    def asked_by(self, network: Network, endpoint: Endpoint, namespace: int) -> tuple[str, ...]:
        """Whom a machine that joins asks for names: us where there are names, or where it cannot reach the resolvers itself.

        Raises StateError, NetlinkError, PermissionDeniedError when the server cannot be had inside.
        """
        if endpoint.machine not in self._asking:
            reachable = endpoint.resolvers or self._host.reachable_from_inside()
            if network.default and reachable and not self._asks_from_here:
                return reachable
            self.listen(endpoint, namespace)
        return (SERVER,)

    def listen(self, endpoint: Endpoint, namespace: int) -> None:
        """Answer a machine inside its namespace; names from elsewhere are asked of the endpoint's resolvers (none: the host's).

        Raises as `asked_by` does.
        """
        self._server.serve(endpoint.machine, listen(namespace, server_of(endpoint)), endpoint.resolvers)
        self._asking.add(endpoint.machine)

    def enlist(self, endpoint: Endpoint, network: Network) -> None:
        """An endpoint is there."""
        with self._server.lock:
            self._directory.add(endpoint, network.name, internal=network.spec.internal, named=not network.default)

    def replace(self, before: Endpoint, after: Endpoint, network: Network) -> None:
        """It has other names now."""
        with self._server.lock:
            self._directory.remove(before)
            self._directory.add(after, network.name, internal=network.spec.internal, named=not network.default)

    def delist(self, endpoint: Endpoint, *, last: bool) -> None:
        """It is gone; `last`: its machine is in no network any more."""
        with self._server.lock:
            self._directory.remove(endpoint)
        if last and endpoint.machine in self._asking:
            self._asking.discard(endpoint.machine)
            self._server.release(endpoint.machine)

    def resolv_conf(self, endpoint: Endpoint, search: Sequence[str], options: Sequence[str]) -> str:
        """The text of a machine's /etc/resolv.conf; what is not given is the host's."""
        host = self._host.now()
        own = ("ndots:0",) if endpoint.dns == (SERVER,) else host.options
        asked = (server_of(endpoint),) if endpoint.dns == (SERVER,) else endpoint.dns
        return text_for_machine(asked, search or host.search, options or own)


def server_of(endpoint: Endpoint) -> str:
    """Where we answer a machine."""
    return guests.SERVER if endpoint.guest else SERVER
