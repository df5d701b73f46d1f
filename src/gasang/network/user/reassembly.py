"""Packets put together from fragments (RFC 815, 5722), so many at a time and for so long at most.

Fragments that overlap are no honest ones: the packet is dropped (RFC 5722, section 4; we do so for IPv4, too).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from gasang.network.user.packets import Packet

_MOST: Final = 16
_SECONDS: Final = 15.0
_LARGEST: Final = 65535
_MOST_PIECES: Final = 128
Key = tuple[bytes, bytes, int, int]


@dataclass(slots=True)
class _Parts:
    since: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    length: int = -1
    first: Packet | None = None

    def take(self, part: Packet) -> bool:
        """Keep a piece; False where it makes no sense together with the others."""
        end = part.offset + len(part.payload)
        if end > _LARGEST or (part.more and len(part.payload) % 8) or not len(part.payload) or len(self.pieces) >= _MOST_PIECES:
            return False
        if part.offset in self.pieces:
            return self.pieces[part.offset] == part.payload
        if any(part.offset < offset + len(piece) and offset < end for offset, piece in self.pieces.items()):
            return False
        if not part.more:
            if self.length >= 0:
                return False
            self.length = end
        self.pieces[part.offset] = bytes(part.payload)
        if part.offset == 0:
            self.first = replace(part, payload=b"")
        return self.length < 0 or max(offset + len(piece) for offset, piece in self.pieces.items()) <= self.length

    def whole(self) -> Packet | None:
        if self.first is None or sum(map(len, self.pieces.values())) != self.length:
            return None
        payload = b"".join(self.pieces[offset] for offset in sorted(self.pieces))
        return replace(self.first, payload=memoryview(payload), offset=0, more=False, is_checked=False)


class Reassembly:
    """The packets of which some pieces are here."""

    def __init__(self) -> None:
        self._under_way: OrderedDict[Key, _Parts] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._under_way)

    def take(self, part: Packet, now: float) -> Packet | None:
        """A piece; the packet, if that was the last one."""
        while self._under_way and next(iter(self._under_way.values())).since + _SECONDS <= now:
            self._under_way.popitem(last=False)
        key = part.source, part.target, part.protocol, part.identification
        parts = self._under_way.get(key)
        if parts is None:
            if len(self._under_way) >= _MOST:
                self._under_way.popitem(last=False)
            parts = self._under_way[key] = _Parts(now)
        good = parts.take(part)
        packet = parts.whole() if good else None
        if not good or packet is not None:
            del self._under_way[key]
        return packet
