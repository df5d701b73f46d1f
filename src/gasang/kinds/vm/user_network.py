"""A network card of a machine that needs no privilege: what goes in and out passes through sockets of this process (network/user)."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network

from gasang.host.tap import Tap
from gasang.kinds.vm.cable import Cable
from gasang.kinds.vm.card import Card, packed
from gasang.network import ports
from gasang.network.spec import LOOPBACK, PortSpec
from gasang.network.user.plan import MAC, Plan


@dataclass(frozen=True)
class UserNetwork:
    """The card's plan, and the ports of the host that lead to the machine."""

    plan: Plan = field(default_factory=Plan)
    published: tuple[PortSpec, ...] = ()

    @property
    def card(self) -> Card:
        """What the guest is to be."""
        address = f"{self.plan.guest}/{ip_network(self.plan.subnet).prefixlen}"
        return Card(MAC, (address,), (self.plan.gateway,), f"nameserver {self.plan.nameserver}\n", mtu=self.plan.mtu, listens=True)

    def attach(self, cleanup: ExitStack, pairs: int = 1) -> Cable:
        """The card's cable; `cleanup` takes all away. Raises UnsupportedError, and what `ports.hold` raises."""
        from gasang.network.user.service import UserNetwork as Service
        from gasang.network.user.service import cable

        held = ports.hold_all(self.published, LOOPBACK, (self.plan.guest,))
        try:
            ours, guests = cable()
        except BaseException:
            ports.let_go(held)
            raise
        cleanup.callback(Service(self.plan, ours, held).close)
        tap = Tap.taken(guests, "user network")
        cleanup.callback(tap.close)
        made = Cable(tap, packed(MAC), self.plan.mtu, pairs)
        cleanup.callback(made.close)
        return made
