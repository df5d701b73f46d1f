"""The receiving half of a connection: what came is put in order, and the other end is told how much more may come.

Places are counted from the byte behind the SYN and never wrap.
"""

from __future__ import annotations

from typing import Final

from gasang.network.user.checksum import Data
from gasang.network.user.tcp.segment import distance

_MOST_LATE: Final = 64


class Receiver:
    """`next` is the place of the byte that is awaited; `limit` how many bytes are taken beyond what is done with."""

    def __init__(self, first: int, limit: int) -> None:
        self.next = 0
        self.is_finished = False
        self._base = first
        self._limit = limit
        self._edge = limit
        self._late: dict[int, bytes] = {}
        self._newest = 0
        self._end = -1

    @property
    def sequence(self) -> int:
        """The number to acknowledge."""
        return self._base + self.next

    def place(self, sequence: int) -> int:
        """Where a sequence number is."""
        return self.next + distance(sequence, self.sequence)

    def is_in_window(self, place: int, length: int) -> bool:
        """Whether any of it is what may be sent (RFC 9293, section 3.10.7.4)."""
        return place <= self._edge and place + length >= self.next

    def take(self, place: int, payload: Data, *, fin: bool) -> list[Data]:
        """Part of what the other end sends, and whether it is the end of it; what is in order now."""
        if fin and place + len(payload) <= self._edge and self._end < 0:
            self._end = place + len(payload)
        if place < self.next:
            payload, place = payload[self.next - place :], self.next
        if place + len(payload) > self._edge:
            payload = payload[: max(0, self._edge - place)]
        ready: list[Data] = []
        if payload and place == self.next:
            ready.append(payload)
            self.next += len(payload)
            if self._late:
                self._join(ready)
        elif payload:
            self._keep(place, bytes(payload))
        if self.next == self._end and not self.is_finished:
            self.is_finished = True
            self.next += 1
        return ready

    def _keep(self, place: int, payload: bytes) -> None:
        """For later. Pieces of hostile senders may overlap: together they take no more than the window."""
        known = self._late.get(place, b"")
        held = sum(map(len, self._late.values())) - len(known)
        if len(known) < len(payload) and len(self._late) < _MOST_LATE and held + len(payload) <= self._limit:
            self._late[place] = payload
            self._newest = place

    def _join(self, ready: list[Data]) -> None:
        for place in sorted(self._late):
            if place > self.next:
                return
            piece = self._late.pop(place)[self.next - place :]
            if piece:
                ready.append(piece)
                self.next += len(piece)

    def sacks(self) -> list[tuple[int, int]]:
        """Sequence numbers of what has come out of order, the newest block first (RFC 2018, section 4)."""
        blocks: list[tuple[int, int]] = []
        for place in sorted(self._late):
            end = place + len(self._late[place])
            if blocks and place <= blocks[-1][1]:
                blocks[-1] = blocks[-1][0], max(end, blocks[-1][1])
            else:
                blocks.append((place, end))
        blocks.sort(key=lambda block: not block[0] <= self._newest < block[1])
        return [(self._base + start, self._base + end) for start, end in blocks]

    def offer(self, held: int, scale: int, mss: int) -> int:
        """The window field, while `held` bytes wait for somebody to take them. Its edge never goes back (RFC 9293, section 3.8.6)."""
        edge = self.next + max(0, self._limit - held)
        if edge - self._edge >= min(mss, self._limit // 2) or self._edge < self.next:
            self._edge = edge
        return min(0xFFFF, max(0, self._edge - self.next) >> scale)

    def wants_update(self, held: int, mss: int) -> bool:
        """Whether the other end should hear that there is room again."""
        return self.next + self._limit - held - self._edge >= max(2 * mss, self._limit // 4)
