"""A machine's guest as its process speaks with it, by its agent: who it is, what its networks are, that it is to end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, StateError, UnsupportedError
from gasang.host.tap import Tap
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.dialing import Dial, dial
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.cable import Cable
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.network import cable_of, forgetting, learning
from gasang.kinds.vm.process.births import NO_CARD
from gasang.kinds.vm.sockets import GUEST_SOCKET, GuestSockets, sockets_of
from gasang.storage.ext4_layout import BLOCK

GRACE: Final = 2.0
"""Seconds that a guest's programs have to end when it is stopped; then they are killed and its disk is written back."""
_HEARS: Final = 5.0
"""Seconds for its driver to see that a disk has another size."""
_MOMENT: Final = 0.02
_LINGER: Final = 0.5
"""Seconds until a guest that was told who it is hears that this was all: it has work with that, and is about to be asked for something."""
RESOLV_CONF: Final = "/etc/resolv.conf"


class Guest:
    """The guest of the machine in `folder`."""

    def __init__(self, folder: Path, vm: AnyMachine, warn: Callable[[str], None]) -> None:
        self._vm = vm
        self._folder = folder
        self._warn = warn

    @property
    def sockets(self) -> GuestSockets | None:
        """Those that its agent is reached by, if it can have one."""
        return sockets_of(transport.device for transport in self._vm.board.virtio)

    def _agent(self, kept: ExitStack | None = None) -> Agent | None:
        """Its agent, if it can have one; whether it answers is seen when it is asked. With `kept` connections last until that closes."""
        if self.sockets is None:
            return None
        reach = partial(dial, self._folder / GUEST_SOCKET, "guest")
        return Agent(reach if kept is None else partial(_reach_and_keep, reach, kept), "guest")

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
        """Tell it, once it goes on, that it is another machine, and the time; then plug it into its networks. Does not wait.

        Who has another's address must not be heard: without an agent to change it, the cable stays out.
        """
        kept = ExitStack()
        agent, cable = self._agent(kept), cable_of(tuple(self._vm.workers))
        plugged = card is not None and tap >= 0
        if cable is not None and (agent is None or not plugged):
            cable.unplug()
        if agent is None:
            return

        def tell() -> None:
            with kept:
                self._tell(agent, name, card if plugged else None, cable, tap)
                self._vm.ended.wait(_LINGER)

        threading.Thread(target=tell, name="identity", daemon=True).start()

    def _tell(self, agent: Agent, name: str, card: Card | None, cable: Cable | None, tap: int) -> None:
        if card is None or cable is None:
            with suppress(GasangError):  # it has no agent, or has ended
                agent.new_identity(name)
            return
        try:
            self._rename(agent, card, partial(agent.new_identity, name))
            cable.plug(Tap.taken(tap))
        except GasangError as error:
            cable.unplug()
            self._warn(f"its network card is not plugged in: {error}")

    def rename(self, card: Card | None) -> None:
        """Have it be what `card` says, or nobody. Raises UnsupportedError for one without a card, GasangError where it cannot."""
        agent = self._agent()
        if agent is None or cable_of(tuple(self._vm.workers)) is None:
            raise UnsupportedError("network of a machine", "it was started without a network card", "stop it, and start it again")
        wanted = card or replace(self._vm.card or NO_CARD, addresses=(), gateways=(), resolver="")
        self._rename(agent, wanted, agent.tell_network)

    def _rename(self, agent: Agent, card: Card, tell: Callable[[Sequence[bytes]], None]) -> None:
        """What it is already it is not told again: its kernel would drop its connections, and routes of its own."""
        known = self._vm.card
        if card == known:
            tell(())
            return
        self._vm.card = None
        tell((forgetting(card, known), learning(card)))
        if card.resolv_conf and (known is None or known.resolv_conf != card.resolv_conf):
            agent.run(["tee", RESOLV_CONF], card.resolv_conf.encode(), tool=True)
        self._vm.card = card


def _reach_and_keep(reach: Dial, kept: ExitStack, first: bytes, patience: float) -> socket.socket:
    """A connection, as `reach` makes it, that is hung up when `kept` is closed, too."""
    made = reach(first, patience)
    kept.enter_context(made.dup())
    return made
