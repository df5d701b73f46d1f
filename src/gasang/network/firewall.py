"""Who puts our rules into the kernel: nftables by netlink; where the kernel has none, the programs of iptables; where neither is, nobody.

Then the proxy passes on what is published, and machines do not reach the outside: `obstacles` says so.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Protocol

from gasang.host.netlink import NetlinkError
from gasang.host.nftables import INET, Netfilter
from gasang.network import names, rules
from gasang.network.docker_user import TABLE as DOCKERS_TABLE
from gasang.network.iptables import Iptables
from gasang.network.rules import Ruled
from gasang.network.spec import Published


class Firewall(Protocol):
    """All may raise NetlinkError, GasangError, PermissionDeniedError; then nothing has changed."""

    translates: bool
    """Whether published ports are sent to their machines by rules at all."""

    def write(self, networks: Sequence[Ruled], published: Sequence[Published], outside: Sequence[str]) -> None:
        """Rules for exactly these networks and ports."""

    def join(self, network: Ruled) -> None:
        """Rules for one more network."""

    def publish(self, published: Sequence[Published]) -> None:
        """Rules for more ports."""

    def withdraw(self, published: Sequence[Published]) -> None:
        """None for these any more."""

    def lost(self) -> bool:
        """Whether somebody else has taken the rules away."""

    def clear(self) -> None:
        """No rules."""

    def forget_connections(self, addresses: Iterable[str]) -> None:
        """Let the kernel forget translated connections to these addresses."""

    def obstacles(self, *, beside_docker: bool) -> list[str]:
        """Sentences about what of the host's own stands in the way; not dockerd's policy where that lets us pass."""

    def close(self) -> None:
        """Let go; the rules stay."""


class Nftables:
    """By netlink."""

    translates = True

    def __init__(self, netfilter: Netfilter, tag: str) -> None:
        self._netfilter = netfilter
        self._table = names.table(tag)

    def write(self, networks: Sequence[Ruled], published: Sequence[Published], outside: Sequence[str]) -> None:
        """One transaction."""
        self._netfilter.install(INET, self._table, rules.contents(self._table, networks, published, outside))

    def join(self, network: Ruled) -> None:
        """One transaction."""
        self._netfilter.commit(rules.joined(self._table, network))

    def publish(self, published: Sequence[Published]) -> None:
        """An element a port."""
        messages = rules.publish(self._table, published)
        if messages:
            self._netfilter.commit(messages)

    def withdraw(self, published: Sequence[Published]) -> None:
        """An element a port."""
        messages = rules.withdraw(self._table, published)
        try:
            if messages:
                self._netfilter.commit(messages)
        except NetlinkError as error:
            if error.number != errno.ENOENT:  # whoever flushed the rules took these as well
                raise

    def lost(self) -> bool:
        """One question."""
        return not self._netfilter.has_table(INET, self._table)

    def clear(self) -> None:
        """The table goes."""
        self._netfilter.commit(rules.removal(self._table))

    def forget_connections(self, addresses: Iterable[str]) -> None:
        """By conntrack's own netlink."""
        self._netfilter.forget_connections([ip_address(address).packed for address in addresses])

    def obstacles(self, *, beside_docker: bool) -> list[str]:
        """Tables of others that drop what is forwarded."""
        ours = names.table("")
        dropping = {table for table in self._netfilter.dropping_forwarders() if not table.startswith(ours)}
        foreign = sorted(dropping - ({DOCKERS_TABLE} if beside_docker else set()))
        return [
            f"table {table} of the host's firewall drops what it does not know, machines' packets too: let it accept them"
            for table in foreign
        ]

    def close(self) -> None:
        """The socket."""
        self._netfilter.close()


class NoFirewall:
    """None at all."""

    translates = False

    def write(self, networks: Sequence[Ruled], published: Sequence[Published], outside: Sequence[str]) -> None:
        """Nothing to be done."""

    def join(self, network: Ruled) -> None:
        """Nothing to be done."""

    def publish(self, published: Sequence[Published]) -> None:
        """Nothing to be done."""

    def withdraw(self, published: Sequence[Published]) -> None:
        """Nothing to be done."""

    def lost(self) -> bool:
        """There is nothing to lose."""
        return False

    def clear(self) -> None:
        """Nothing to be done."""

    def forget_connections(self, addresses: Iterable[str]) -> None:
        """Nothing to be done."""

    def obstacles(self, *, beside_docker: bool) -> list[str]:
        """That there is none."""
        return ["neither nftables nor iptables is there: machines do not reach the outside, and the proxy alone passes on published ports"]

    def close(self) -> None:
        """Nothing to be done."""


def choose(tag: str) -> Firewall:
    """The best there is here."""
    netfilter = Netfilter()
    if netfilter.usable():
        return Nftables(netfilter, tag)
    netfilter.close()
    return Iptables.found(tag) or NoFirewall()
