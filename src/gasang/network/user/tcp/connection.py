"""One connection with the guest: the handshake from either side, both halves, the end. No sockets, no clock.

What is to be sent goes to `emit`; what has come in order is the answer of `receive`. Acknowledgements are not sent for each segment, but
when the owner says that the last one for now has come (`flush`): the guest's card hands over many at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gasang.network.user.checksum import Data
from gasang.network.user.tcp import segment as wire
from gasang.network.user.tcp.pace import Patience
from gasang.network.user.tcp.receiver import Receiver
from gasang.network.user.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment, distance
from gasang.network.user.tcp.sender import Sender

WINDOW: Final = 1 << 18
SCALE: Final = 3
LINGER_SECONDS: Final = 2.0
"""How long the end of a connection is remembered, for a guest that has not heard our last acknowledgement (TIME-WAIT)."""
_MOST_SYNS: Final = 6


class Phase(Enum):
    """Where a connection is. The halves of an open one end each by itself."""

    CALLING = auto()
    ANSWERING = auto()
    OPEN = auto()
    LINGERS = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True)
class Ends:
    """Our port, the guest's, and the segment size that fits the cable."""

    ours: int
    theirs: int
    mss: int


Emit = Callable[[Segment, bytes], None]


class Connection:
    """`held` is what the owner has not been able to pass on: it makes the window smaller. `largest` is the most bytes a segment carries.

    `was_reset`: the guest or its silence has ended it. Call `call` or `answer` first.
    """

    def __init__(self, ends: Ends, number: int, emit: Emit, largest: Callable[[], int]) -> None:
        self.phase = Phase.CALLING
        self.held = 0
        self.was_reset = False
        self._ends = ends
        self._emit = emit
        self._largest = largest
        self._first = number
        self._mss = ends.mss
        self._scale = self._their_scale = 0
        self._sacks = False
        self._owes = False
        self._tries = 0
        self._patience = Patience()
        self._deadline: float | None = None
        self._sender = Sender(number + 1, ends.mss, WINDOW)
        self._receiver = Receiver(0, WINDOW)

    # Beginnings.

    def call(self, now: float) -> None:
        """Begin from here."""
        self._deadline = now + self._patience.seconds
        self._send(SYN, self._first, options=wire.opening_options(self._ends.mss, SCALE, sacks=True), window=0xFFFF)

    def answer(self, syn: Segment, now: float) -> None:
        """The guest has called."""
        self.phase = Phase.ANSWERING
        self._meet(syn)
        self._deadline = now + self._patience.seconds
        self._accept()

    def _meet(self, syn: Segment) -> None:
        """What the other end's SYN says."""
        self._mss = min(self._ends.mss, syn.mss)
        self._scale, self._their_scale = (SCALE, syn.scale) if syn.scale >= 0 else (0, 0)
        self._sacks = syn.takes_sacks
        self._sender = Sender(self._first + 1, self._mss, WINDOW)
        self._receiver = Receiver(syn.sequence + 1, WINDOW if syn.scale >= 0 else 0xFFFF)
        self._sender.window = syn.window

    def _accept(self) -> None:
        options = wire.opening_options(self._ends.mss, self._scale or -1, sacks=self._sacks)
        self._send(SYN | ACK, self._first, options=options, window=0xFFFF)

    # What the owner does.

    @property
    def room(self) -> int:
        """Bytes that `send` may be given."""
        return self._sender.free if self.phase is Phase.OPEN else 0

    @property
    def guest_has_finished(self) -> bool:
        """Whether the guest sends no more."""
        return self._receiver.is_finished

    @property
    def deadline(self) -> float | None:
        """When `expire` is to be called."""
        if self.phase is Phase.GONE:
            return None
        return self._sender.deadline if self.phase is Phase.OPEN else self._deadline

    def send(self, data: bytes, now: float) -> None:
        """Bytes for the guest."""
        self._sender.add(data)
        self._push(now)

    def finish(self, now: float) -> None:
        """Nothing more comes for the guest."""
        self._sender.finish()
        if self.phase is Phase.OPEN:
            self._push(now)
            self._settle(now)

    def reset(self) -> None:
        """Break it off."""
        if self.phase in (Phase.ANSWERING, Phase.OPEN):
            self._send(RST | ACK, self._sender.sequence)
        elif self.phase is Phase.CALLING:
            self._send(RST, self._first + 1)
        self.phase = Phase.GONE

    def flush(self) -> None:
        """Acknowledge, if that is owed; say that there is room again, if that is news."""
        if self.phase not in (Phase.OPEN, Phase.LINGERS):
            return
        if self._owes or self._receiver.wants_update(self.held, self._mss):
            self._send(ACK, self._sender.sequence, options=wire.sack_option(self._receiver.sacks()) if self._sacks else b"")

    # What the guest does.

    def receive(self, segment: Segment, now: float) -> list[Data]:
        """A segment of the guest's; the bytes that are in order now, for the owner (RFC 9293, section 3.10.7)."""
        if self.phase is Phase.CALLING:
            self._called_back(segment, now)
            return []
        if self.phase is Phase.GONE:
            return []
        place = self._receiver.place(segment.sequence)
        if self.phase is Phase.ANSWERING and segment.flags & SYN and place == -1:
            self._accept()
            return []
        if not self._receiver.is_in_window(place, len(segment.payload)) or segment.flags & SYN:
            self._owes = not segment.flags & RST
            return []
        if segment.flags & RST:
            self._be_reset(place)
            return []
        return self._continue(segment, place, now) if segment.flags & ACK else []

    def _called_back(self, segment: Segment, now: float) -> None:
        """RFC 9293, section 3.10.7.3; nobody calls at the very same time as we do."""
        if not segment.flags & ACK or distance(segment.acknowledgement, self._first + 1):
            return
        if segment.flags & RST:
            self._end(was_reset=True)
        elif segment.flags & SYN:
            self._meet(segment)
            self._begin(segment.window, now)
            self._owes = True

    def _begin(self, window: int, now: float) -> None:
        self.phase = Phase.OPEN
        self._deadline = None
        self._sender.acknowledge(self._first + 1, window, (), now, bare=True)
        self._push(now)

    def _be_reset(self, place: int) -> None:
        """Only at the very place that is awaited; else the sender is asked whether it meant that (RFC 5961, section 3.2)."""
        if place == self._receiver.next:
            self._end(was_reset=True)
        else:
            self._owes = True

    def _end(self, *, was_reset: bool) -> None:
        self.phase = Phase.GONE
        self.was_reset = was_reset

    def _continue(self, segment: Segment, place: int, now: float) -> list[Data]:
        window = segment.window << self._their_scale
        if self.phase is Phase.ANSWERING:
            if distance(segment.acknowledgement, self._first + 1):
                return []
            self._begin(window, now)
        bare = not segment.payload and not segment.flags & FIN
        if not self._sender.acknowledge(segment.acknowledgement, window, segment.sacks if self._sacks else (), now, bare=bare):
            self._owes = True
            return []
        ready = self._receiver.take(place, segment.payload, fin=bool(segment.flags & FIN))
        self._owes |= not bare or place != self._receiver.next
        if self.phase is Phase.OPEN:
            self._push(now)
            self._settle(now)
        return ready

    def _settle(self, now: float) -> None:
        """Remember it for a while when both halves are over."""
        if self._sender.is_done and self._receiver.is_finished:
            self.phase = Phase.LINGERS
            self._deadline = now + LINGER_SECONDS

    # Time.

    def expire(self, now: float) -> None:
        """The deadline has come."""
        if self.phase is Phase.OPEN:
            for piece in self._sender.expire(now):
                self._send(ACK | (FIN if piece.fin else 0), self._sender.number(piece.place), piece.data)
            if self._sender.has_failed:
                self._give_up()
            else:
                self._push(now)
        elif self.phase is Phase.LINGERS:
            self._end(was_reset=False)
        elif self.phase is not Phase.GONE:
            self._open_again(now)

    def _open_again(self, now: float) -> None:
        self._tries += 1
        if self._tries >= _MOST_SYNS:
            self._give_up()
            return
        self._patience.back_off()
        if self.phase is Phase.CALLING:
            self.call(now)
        else:
            self._deadline = now + self._patience.seconds
            self._accept()

    def _give_up(self) -> None:
        self.reset()
        self.was_reset = True

    # Sending.

    def _push(self, now: float) -> None:
        if self.phase is Phase.OPEN:
            for piece in self._sender.pieces(now, max(self._mss, self._largest() // self._mss * self._mss)):
                flags = ACK | (PSH if piece.data else 0) | (FIN if piece.fin else 0)
                self._send(flags, self._sender.number(piece.place), piece.data)

    def _send(self, flags: int, number: int, data: bytes = b"", options: bytes = b"", window: int = -1) -> None:
        acknowledges = bool(flags & ACK)
        if window < 0:
            window = self._receiver.offer(self.held, self._scale, self._mss)
        if acknowledges:
            self._owes = False
        sequence = self._receiver.sequence if acknowledges else 0
        made = Segment(self._ends.ours, self._ends.theirs, number & wire.WRAP, sequence & wire.WRAP, flags, window, data, self._mss)
        self._emit(made, options)
