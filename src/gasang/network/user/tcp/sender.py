"""The sending half of a connection: bytes are kept until they are acknowledged, and sent again where they were lost.

Places are counted from the byte behind the SYN and never wrap. Loss is told by SACK blocks (RFC 2018, 6675) or three duplicates (RFC 5681),
else by silence (RFC 6298); a closed window is probed (RFC 9293, section 3.8.6.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gasang.network.user.tcp.pace import Congestion, Patience
from gasang.network.user.tcp.segment import distance

DUPLICATES: Final = 3
MOST_TRIES: Final = 12
_MOST_SACKED: Final = 64


@dataclass(slots=True)
class Piece:
    """What to send: its place, its bytes, whether the end is behind them."""

    place: int
    data: bytes
    fin: bool


class Sender:
    """`limit` is how many bytes are kept at most; at `deadline` somebody calls `expire`; `has_failed` when nobody has answered for long."""

    def __init__(self, first: int, mss: int, limit: int) -> None:
        self.deadline: float | None = None
        self.window = 0
        self.has_failed = False
        self._patience = Patience()
        self._congestion = Congestion(mss)
        self._base = first
        self._mss = mss
        self._limit = limit
        self._data = bytearray()  # from `_done` on
        self._done = 0  # what is before is acknowledged
        self._next = 0  # what is before has been sent, and need not be sent again as far as we know
        self._highest = 0  # what is before has been sent
        self._fin = -1  # the place of the end, once that is known
        self._sacked: list[tuple[int, int]] = []
        self._duplicates = 0
        self._recovery = -1  # lasts until this place is acknowledged
        self._hole = 0  # in recovery: what is before has been sent again
        self._timed = -1, 0.0
        self._tries = 0

    @property
    def free(self) -> int:
        """Bytes that may be added."""
        return max(0, self._limit - len(self._data))

    @property
    def is_done(self) -> bool:
        """Whether all has arrived, the end too."""
        return 0 <= self._fin < self._done

    @property
    def sequence(self) -> int:
        """The number of what would be sent next."""
        return self._base + self._highest

    @property
    def _end(self) -> int:
        """The place behind the last byte."""
        return self._fin if self._fin >= 0 else self._done + len(self._data)

    @property
    def _last(self) -> int:
        """The place behind all there is to send."""
        return self._fin + 1 if self._fin >= 0 else self._end

    def number(self, place: int) -> int:
        """A place's sequence number."""
        return self._base + place

    def add(self, data: bytes) -> None:
        """More to send."""
        self._data += data

    def finish(self) -> None:
        """That was all."""
        if self._fin < 0:
            self._fin = self._end

    # What the other end says.

    def acknowledge(self, number: int, window: int, sacks: Sequence[tuple[int, int]], now: float, *, bare: bool) -> bool:
        """An acknowledgement and the window with it, in bytes; False where it is for what was never sent. `bare`: it carried nothing."""
        place = self._done + distance(number, self._base + self._done)
        if place > self._highest:
            return False
        if place < self._done:
            return True
        is_repeat = bare and place == self._done and window == self.window and self._highest > self._done
        if window and not self.window and place == self._done:
            self._next = place  # what probed the closed window was not taken
        self.window, self._tries = window, 0
        news = self._note_sacks(sacks)
        if place > self._done:
            self._advance(place, now)
        elif is_repeat or news:
            self._duplicates += 1
        self._look_for_loss()
        return True

    def _advance(self, place: int, now: float) -> None:
        count = place - self._done
        del self._data[: min(count, len(self._data))]
        self._done = place
        self._next = max(self._next, place)
        self._hole = max(self._hole, place)
        self._sacked = [block for block in self._sacked if block[1] > place]
        self._duplicates = 0
        if 0 <= self._timed[0] <= place:
            self._patience.sample(now - self._timed[1])
            self._timed = -1, 0.0
        if self._recovery < 0:
            self._congestion.acknowledged(count)
        elif place >= self._recovery:
            self._recovery = -1
        elif not self._sacked:
            self._hole = place  # a partial acknowledgement: the next one is missing as well (RFC 6582)
        self.deadline = now + self._patience.seconds if self._highest > place else None

    def _note_sacks(self, sacks: Sequence[tuple[int, int]]) -> bool:
        """Remember blocks that can be; whether there was news in them."""
        before = sum(end - start for start, end in self._sacked)
        for first, last in sacks:
            start, end = (self._done + distance(number, self._base + self._done) for number in (first, last))
            if self._done < start < end <= self._highest:
                self._sacked.append((start, end))
        merged: list[tuple[int, int]] = []
        for start, end in sorted(self._sacked):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        self._sacked = merged[:_MOST_SACKED]
        return sum(end - start for start, end in self._sacked) > before

    def _look_for_loss(self) -> None:
        if self._recovery >= 0 or self._next <= self._done:
            return
        sacked = sum(end - start for start, end in self._sacked)
        if self._duplicates >= DUPLICATES or sacked > DUPLICATES * self._mss:
            self._congestion.lost(self._highest - self._done)
            self._recovery, self._hole = self._highest, self._done
            self._timed = -1, 0.0

    # What is sent.

    def pieces(self, now: float, largest: int) -> Iterator[Piece]:
        """What may be sent now, in pieces of at most `largest` bytes."""
        if self._recovery >= 0:
            yield from self._again(now)
        while (piece := self._new(largest)) is not None:
            if self._timed[0] < 0 and piece.place >= self._highest:
                self._timed = self._next, now
            self._highest = max(self._highest, self._next)
            yield piece
        if self._highest > self._done or self._last > self._next:
            if self.deadline is None:
                self.deadline = now + self._patience.seconds
        else:
            self.deadline = None

    def _again(self, now: float) -> Iterator[Piece]:
        """What is missing below what has come; without SACK, the one segment that is awaited."""
        is_first = self._hole == self._done
        while (hole := self._next_hole()) is not None and (is_first or self._under_way() < self._congestion.room):
            start, end = hole
            if is_first:
                self.deadline = now + self._patience.seconds
            is_first = False
            yield self._piece(start, min(end - start, self._mss))
            self._hole = max(start + 1, min(end, start + self._mss))

    def _next_hole(self) -> tuple[int, int] | None:
        start = self._hole
        if not self._sacked:
            return (start, min(self._recovery, start + self._mss)) if start == self._done < self._recovery else None
        for first, last in self._sacked:
            if start < first:
                return start, first
            start = max(start, last)
        return None

    def _under_way(self) -> int:
        """Bytes that are neither there nor lost (the pipe of RFC 6675)."""
        sacked = sum(end - start for start, end in self._sacked)
        if self._recovery < 0 or not self._sacked:
            return self._next - self._done - sacked
        lost, start = 0, self._hole
        for first, last in self._sacked:
            lost += max(0, first - start)
            start = max(start, last)
        return self._next - self._done - sacked - lost

    def _new(self, largest: int) -> Piece | None:
        """The next that was not sent, or, after a silence, not since then; so much of it as window and congestion leave."""
        if self._next >= self._last:
            return None
        place, waits = self._next, self._end - self._next
        room = min(self._done + self.window - place, self._congestion.room - self._under_way())
        count = min(waits, max(room, 0), largest)
        if self._mss < count < waits:
            count -= count % self._mss
        if waits and count < min(self._mss, waits) and place > self._done:
            return None  # small pieces wait until the others have arrived (RFC 9293, section 3.8.6.2.1)
        if waits and not count:
            return None
        piece = self._piece(place, count)
        self._next = place + count + piece.fin
        return piece

    def _piece(self, place: int, count: int) -> Piece:
        start = place - self._done
        count = max(0, min(count, self._end - place))
        return Piece(place, bytes(memoryview(self._data)[start : start + count]), fin=place + count == self._fin)

    def expire(self, now: float) -> Iterator[Piece]:
        """The deadline has come: begin again with what was not acknowledged, or probe a closed window."""
        self._tries += 1
        self.has_failed = self._tries > MOST_TRIES
        if self._last == self._done or self.has_failed:
            self.deadline = None
            return
        if self.window > 0 and self._highest > self._done:
            self._congestion.silence(self._highest - self._done)
        self._next = self._hole = self._done
        self._recovery, self._duplicates, self._timed = -1, 0, (-1, 0.0)
        self._sacked.clear()
        self._patience.back_off()
        self.deadline = now + self._patience.seconds
        if not self.window:
            probe = self._piece(self._done, 1)
            self._next = self._done + len(probe.data) + probe.fin
            self._highest = max(self._highest, self._next)
            yield probe
