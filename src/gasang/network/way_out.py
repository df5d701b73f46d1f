"""The way out of networks that are beside the host's (place.py): a network in user space, to whose guest's place they all lead.

    containers ── bridges ── rules: masquerade ── out0 ═ frames ═ a process in the host's network, with ordinary sockets

It lives as long as the namespace that networks are in, whether a daemon runs or not. One that ends before, a daemon that runs begins anew.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from pathlib import Path
from time import monotonic
from typing import Final

from gasang.core.errors import GasangError
from gasang.host import netns
from gasang.network.place import Place
from gasang.network.user import apart, inside
from gasang.network.user.plan import Plan

NAME: Final = "out0"
PLAN: Final = Plan("169.254.2.0/24", "169.254.2.2", "169.254.2.3", "169.254.2.15", machines=4)
"""Link-local addresses, which no network of a user's has (RFC 3927)."""
_YOUNG: Final = 1.0
"""One that ends sooner, in seconds, would again; the next machine that joins tries."""
_log = logging.getLogger(__name__)


class WayOut:
    """Of one instance; where networks are the host's, that leads out itself. `file` is its process's; `problem` says why there is none."""

    def __init__(self, file: Path, place: Place) -> None:
        self._file = file
        self._place = place
        self._lock = threading.Lock()
        self._process: apart.Process | None = None
        self._watched = 0
        self.problem = ""

    def begin(self) -> None:
        """Have it, if it is not there; what keeps it from being is told in the log, and networks lead nowhere."""
        if not self._place.is_apart:
            return
        with self._lock:
            try:
                if not (apart.is_alive(self._file) and self._place.call(_is_there)):
                    self._begin()
                self._watch()
                self.problem = ""
            except (GasangError, OSError) as error:
                self.problem = str(error)
                _log.warning("networks of containers have no way out of this host: %s", error)

    def _begin(self) -> None:
        apart.end(self._file, self._process)
        end = self._place.call(_card)
        try:
            _, self._process = self._place.outside(lambda: apart.serve(self._file, PLAN, (), end, inside.TAKES))
        finally:
            os.close(end)

    def _watch(self) -> None:
        number = apart.number(self._file)
        if number and number != self._watched:
            descriptor = os.pidfd_open(number)
            self._watched = number
            threading.Thread(target=self._attend, args=(number, descriptor), name="way-out", daemon=True).start()

    def _attend(self, number: int, descriptor: int) -> None:
        """Until it ends; one that has lived for a while, and was not told to, is begun anew."""
        begun = monotonic()
        select.select([descriptor], [], [])
        os.close(descriptor)
        if self._watched == number and monotonic() - begun > _YOUNG:
            _log.warning("the way out of containers' networks has ended by itself, and is begun anew")
            self.begin()

    def end(self) -> None:
        """Nobody needs it any more."""
        if not self._place.is_apart:
            return
        with self._lock:
            self._watched = 0
            apart.end(self._file, self._process)
            self._process = None


def _is_there() -> bool:
    try:
        return socket.if_nametoindex(NAME) > 0
    except OSError:
        return False


def _card() -> int:
    here = netns.current()
    try:
        return inside.card(here, PLAN, NAME)
    finally:
        os.close(here)
