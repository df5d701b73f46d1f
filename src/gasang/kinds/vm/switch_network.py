"""A network card of a machine that needs no privilege: a cable to a switch in user space (network/switch), where other machines are."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from gasang.host.tap import Tap
from gasang.kinds.vm.cable import Cable
from gasang.kinds.vm.card import Card, packed


@dataclass(frozen=True)
class SwitchNetwork:
    """The switch's socket, and what the guest is to be there."""

    path: str
    card: Card

    def attach(self, cleanup: ExitStack, pairs: int = 1) -> Cable:
        """The card's cable; `cleanup` takes all away. Raises NotFoundError without a switch, PermissionDeniedError, GasangError."""
        from gasang.network.switch.door import connect

        tap = Tap.taken(connect(self.path), f"switch {self.path}")
        cleanup.callback(tap.close)
        made = Cable(tap, packed(self.card.mac), self.card.mtu, pairs)
        cleanup.callback(made.close)
        return made
