"""A disk with a limit on requests and bytes a second: token buckets, whose clock is given.

A bucket that is full lets a burst through; what is taken beyond its content is owed, and whoever takes waits until the debt is paid. So a
request larger than the burst passes too, and pays with time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gasang.core.protocols import Block


@dataclass(slots=True)
class Bucket:
    """Fills with `rate` tokens a second up to `burst`; `level` below zero is a debt. `now` is the time, in seconds, of the last look."""

    rate: float
    burst: float
    now: float
    level: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> Bucket:
        """One that holds its burst."""
        return cls(rate, burst, now, burst)

    def take(self, amount: float, now: float) -> float:
        """Take tokens; the seconds after which nothing is owed any more. A clock that goes back stands still here."""
        if now > self.now:
            self.level = min(self.burst, self.level + (now - self.now) * self.rate)
            self.now = now
        self.level -= amount
        return max(0.0, -self.level / self.rate)


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests and bytes a second, 0 for no limit; how many of them may come at once, 0 for as many as in a tenth of a second."""

    requests: int = 0
    data: int = 0
    requests_burst: int = 0
    data_burst: int = 0


class Throttled:
    """`block` with limits on reads, writes and discards. It owns the block. `pause` waits for so many seconds."""

    def __init__(
        self,
        block: Block,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._let_go = threading.Event()
        self._block = block
        self._clock = clock
        self._pause = pause or self._let_go.wait
        self.size = block.size
        now = clock()
        self._requests = _bucket(limits.requests, limits.requests_burst, now)
        self._bytes = _bucket(limits.data, limits.data_burst, now)

    def _wait(self, length: int) -> None:
        if self._let_go.is_set():
            return
        now = self._clock()
        owed = max(bucket.take(amount, now) for bucket, amount in ((self._requests, 1), (self._bytes, length)) if bucket is not None)
        if owed > 0:
            self._pause(owed)

    def let_go(self) -> None:
        """Hold nothing to the limits any more, whoever waits included: what is under way is to end."""
        self._let_go.set()

    def read(self, offset: int, length: int) -> bytes:
        """As Block."""
        self._wait(length)
        return self._block.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """As Block."""
        self._wait(len(data))
        self._block.write(offset, data)

    def flush(self) -> None:
        """As Block; it is not counted."""
        self._block.flush()

    def discard(self, offset: int, length: int) -> None:
        """As Block; a request without bytes."""
        self._wait(0)
        self._block.discard(offset, length)

    def close(self) -> None:
        """As Block."""
        self._block.close()


def _bucket(rate: int, burst: int, now: float) -> Bucket | None:
    return Bucket.full(rate, burst or max(1.0, rate / 10), now) if rate else None


def throttled(block: Block, limits: Limits) -> Block:
    """`block`, with `limits` if there are any."""
    return Throttled(block, limits) if limits.requests or limits.data else block
