"""How much may be under way and how long to wait for it: RFC 5681 (with the beginning of RFC 6928) and RFC 6298."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 1.0
LEAST_SECONDS: Final = 0.2
MOST_SECONDS: Final = 60.0
_GRAIN: Final = 0.001


class Patience:
    """The retransmission timeout `seconds`, from samples of the round trip."""

    def __init__(self) -> None:
        self.seconds = FIRST_SECONDS
        self._smooth = -1.0
        self._varies = 0.0

    def sample(self, took: float) -> None:
        """A segment that was sent once has been acknowledged after so many seconds."""
        if self._smooth < 0:
            self._smooth, self._varies = took, took / 2
        else:
            self._varies += (abs(self._smooth - took) - self._varies) / 4
            self._smooth += (took - self._smooth) / 8
        self.seconds = min(MOST_SECONDS, max(LEAST_SECONDS, self._smooth + max(_GRAIN, 4 * self._varies)))

    def back_off(self) -> None:
        """It was too short."""
        self.seconds = min(MOST_SECONDS, self.seconds * 2)


class Congestion:
    """The congestion window `room`, in bytes."""

    def __init__(self, mss: int) -> None:
        self.mss = mss
        self.room = 10 * mss
        self._threshold = 1 << 30

    def acknowledged(self, count: int) -> None:
        """So many new bytes have arrived: slow start (with appropriate byte counting, RFC 3465), or congestion avoidance."""
        if self.room < self._threshold:
            self.room += count
        else:
            self.room += max(1, self.mss * count // self.room)
        self.room = min(self.room, 1 << 30)

    def lost(self, under_way: int) -> None:
        """A segment is missing, others have come: fast recovery begins."""
        self._threshold = max(under_way // 2, 2 * self.mss)
        self.room = self._threshold

    def silence(self, under_way: int) -> None:
        """Nothing has come for as long as the timeout: begin again."""
        self._threshold = max(under_way // 2, 2 * self.mss)
        self.room = self.mss
