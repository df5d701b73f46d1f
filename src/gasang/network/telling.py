"""What machines are told of their networks: names by our DNS server, and, where they ask for it, their own addresses by our DHCP server."""

from __future__ import annotations

from collections.abc import Sequence

from gasang.network import placing
from gasang.network.dhcp.inside import Inside
from gasang.network.dns.upstream import SERVER
from gasang.network.members import Members
from gasang.network.naming import Naming
from gasang.network.registry import Registry
from gasang.network.spec import Endpoint


class Telling:
    """The two servers, as the members of networks change. Not thread-safe: its owner locks."""

    def __init__(self, naming: Naming, registry: Registry, members: Members, tag: str) -> None:
        self.naming = naming
        self._addressing = Inside()
        self._registry = registry
        self._members = members
        self._tag = tag

    def close(self) -> None:
        """Answer no more."""
        self._addressing.close()
        self.naming.close()

    def enlist(self, endpoint: Endpoint) -> None:
        """An endpoint is there."""
        network = self._registry.get(endpoint.network)
        if network:
            self.naming.enlist(endpoint, network)

    def delist(self, endpoint: Endpoint) -> None:
        """It is gone from the members."""
        others = self._members.all(machine=endpoint.machine)
        self.naming.delist(endpoint, last=not others)
        if not others and endpoint.guest:
            self._addressing.release(endpoint.machine)

    def keep_answering(self, gone: Endpoint) -> None:
        """A machine that was told to ask us goes on asking, in networks without names too; so the next daemon must answer it again."""
        others = self._members.all(machine=gone.machine)
        if others and gone.dns == (SERVER,) and not _asking(others):
            self._members.change(others[0], dns=gone.dns)

    def answer(self, machine: str, namespace: int) -> None:
        """Tell a guest that asks who it is in the network by which its default route goes, or else in its first."""
        ends = [end for end in self._members.all(machine=machine) if end.guest]
        end = next((end for end in ends if end.default_route), next(iter(ends), None))
        network = self._registry.get(end.network) if end else None
        if end and network:
            self._addressing.serve(machine, namespace, placing.asking(self._tag, network, end))

    def answer_again(self, machine: str, namespace: int) -> None:
        """As `answer`, with names as well, of a machine that asked another daemon."""
        asking = _asking(self._members.all(machine=machine))
        if asking:
            self.naming.listen(asking[0], namespace)
        self.answer(machine, namespace)


def _asking(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return [endpoint for endpoint in endpoints if endpoint.dns == (SERVER,)]
