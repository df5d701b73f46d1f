"""What is answered to a machine's question: from the directory, from memory, or not yet. No sockets here.

`Resolver.ask` gives an answer, or None: then the question has to go to the host's own resolvers, and what they say comes back by `learned`.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError
from gasang.network.dns import message
from gasang.network.dns.directory import Directory
from gasang.network.dns.message import Foreign, Query

_OWN_SECONDS: Final = 5
_LONGEST: Final = 3600
_MOST_KEPT: Final = 2048
_LARGEST_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class _Kept:
    data: bytes
    lives: tuple[int, ...]
    since: float
    until: float


class Resolver:
    """Answers for all machines. Not thread-safe: its owner locks."""

    def __init__(self, directory: Directory, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()

    def ask(self, machine: str, query: Query, limit: int, servers: tuple[str, ...] = ()) -> bytes | None:
        """The answer to a machine's query in at most `limit` bytes; None: ask `servers`."""
        if query.opcode:
            return message.reply(query, message.NOT_IMPLEMENTED, own=False)
        if query.klass != message.IN:
            return message.reply(query, message.REFUSED, own=False)
        own = self._own(machine, query, limit)
        if own is not None:
            return own
        if not self._directory.reaches_out(machine):
            return message.reply(query, message.NO_SUCH_NAME, own=False)
        return self._remembered(query, limit, servers)

    def learned(self, query: Query, data: bytes, foreign: Foreign, servers: tuple[str, ...] = ()) -> None:
        """One of `servers` answered `data`: kept for those who ask the same servers as long as it says, "no such name" too."""
        if not foreign.keep or len(data) > _LARGEST_KEPT:
            return
        now = self._clock()
        key = _key(query, servers)
        self._kept[key] = _Kept(data, foreign.lives, now, now + min(foreign.keep, _LONGEST))
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Other resolvers, other answers."""
        self._kept.clear()

    def _own(self, machine: str, query: Query, limit: int) -> bytes | None:
        if query.type == message.PTR:
            return self._name(machine, query, limit)
        found = self._directory.find(machine, query.name)
        if not found:
            return None
        family = {message.A: 4, message.AAAA: 6}.get(query.type, 0)
        addresses = [address for endpoint in found if family and (address := endpoint.address(family))]
        # Each in front by turns: askers take the first.
        random.shuffle(addresses)
        return message.reply(query, message.NO_ERROR, [message.address_record(address, _OWN_SECONDS) for address in addresses], limit=limit)

    def _name(self, machine: str, query: Query, limit: int) -> bytes | None:
        address = message.address_asked(query.name)
        name = self._directory.name_of(machine, address) if address else ""
        if not name:
            return None
        try:
            record = message.name_record(name, _OWN_SECONDS)
        except BadInputError:
            return None
        return message.reply(query, message.NO_ERROR, [record], limit=limit)

    def _remembered(self, query: Query, limit: int, servers: tuple[str, ...]) -> bytes | None:
        key = _key(query, servers)
        kept = self._kept.get(key)
        now = self._clock()
        if kept is None or len(kept.data) > limit:
            return None
        if kept.until <= now:
            del self._kept[key]
            return None
        return message.aged(kept.data, kept.lives, int(now - kept.since), query)


def _key(query: Query, servers: tuple[str, ...]) -> tuple[object, ...]:
    """What an answer depends on: who is asked, what, and what of the asker's abilities the answer speaks to."""
    return servers, query.name, query.type, query.edns, query.flags
