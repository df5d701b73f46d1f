"""A machine's guest as its process speaks with it, by its agent: who it is, what its networks are, that it is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, StateError, UnsupportedError
from gasang.host.tap import Tap
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.dialing import dial
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.network import Card, cable_of, forgetting, learning
from gasang.kinds.vm.process.births import NO_CARD
from gasang.kinds.vm.sockets import GUEST_SOCKET, GuestSockets, sockets_of
from gasang.storage.ext4_layout import BLOCK

GRACE: Final = 2.0
"""Seconds that a guest's programs have to end when it is stopped; then they are killed and its disk is written back."""
_HEARS: Final = 5.0
"""Seconds for its driver to see that a disk has another size."""
_MOMENT: Final = 0.02
RESOLV_CONF: Final = "/etc/resolv.conf"


class Guest:
    """The guest of the machine in `folder`. It was told that it is `card`, None where that is not known."""

    def __init__(self, folder: Path, vm: AnyMachine, card: Card | None, warn: Callable[[str], None]) -> None:
        self._vm = vm
        self._folder = folder
        self._warn = warn
        self.card = card

    @property
    def sockets(self) -> GuestSockets | None:
        """Those that its agent is reached by, if it can have one."""
        return sockets_of(transport.device for transport in self._vm.board.virtio)

    def _agent(self) -> Agent | None:
        """Its agent, if it can have one; whether it answers is seen when it is asked."""
        return Agent(partial(dial, self._folder / GUEST_SOCKET, "guest"), "guest") if self.sockets is not None else None

    def shut_down(self, number: int) -> bool:
        """Have it end by itself, its programs with that signal; False where nobody there hears."""
        agent = self._agent()
        if agent is None:
            return False
        with suppress(GasangError):
            agent.shutdown(GRACE, number)
            return True
        return False

    def sync(self) -> None:
        """Have what its programs wrote on its disks, if it hears."""
        agent = self._agent()
        if agent is not None and not self._vm.paused:
            with suppress(GasangError):
                agent.run(["sync"], tool=True)

    def grow(self, target: str, size: int) -> None:
        """Have the file system at `target` fill a disk that has `size` bytes now. Raises GasangError where it cannot."""
        agent = self._agent()
        if agent is None or self._vm.paused:
            raise StateError("guest", "nobody there hears", "let it go on, and run resize2fs there")
        end = time.monotonic() + _HEARS
        while True:
            try:
                agent.grow(target, size // BLOCK)
                return
            except GasangError:
                if time.monotonic() > end:
                    raise
            time.sleep(_MOMENT)  # its driver hears of the new size by an interrupt, and looks at it some time later

    def identify(self, name: str, card: Card | None, tap: int) -> None:
        """Tell it, once it goes on, that it is another machine, and the time; then plug it into its networks. Does not wait."""
        agent = self._agent()
        if agent is None:
            return

        def tell() -> None:
            with suppress(GasangError):  # it has no agent, or has ended
                agent.new_identity(name)
            if card is not None and tap >= 0:
                self._plug(agent, card, tap)

        threading.Thread(target=tell, name="identity", daemon=True).start()

    def _plug(self, agent: Agent, card: Card, tap: int) -> None:
        """Who has another's address must not be heard: without an agent to change it the cable stays out."""
        try:
            self._rename(agent, card)
            cable = cable_of(tuple(self._vm.workers))
            if cable is not None:
                cable.plug(Tap.taken(tap))
        except GasangError as error:
            self._warn(f"its network card is not plugged in: {error}")

    def rename(self, card: Card | None) -> None:
        """Have it be what `card` says, or nobody. Raises UnsupportedError for one without a card, GasangError where it cannot."""
        agent = self._agent()
        if agent is None or cable_of(tuple(self._vm.workers)) is None:
            raise UnsupportedError("network of a machine", "it was started without a network card", "stop it, and start it again")
        self._rename(agent, card or replace(self.card or NO_CARD, addresses=(), gateways=(), resolver=""))

    def _rename(self, agent: Agent, card: Card) -> None:
        with suppress(GasangError):  # addresses that it does not have
            agent.tell_network(forgetting(card))
        agent.tell_network(learning(card))
        if card.resolv_conf and (self.card is None or self.card.resolv_conf != card.resolv_conf):
            agent.run(["tee", RESOLV_CONF], card.resolv_conf.encode(), tool=True)
        self.card = card
