"""Guest time for the harts: the host's constant-rate counter, scaled to 10 MHz and steered after the host's monotonic clock.

The counter's rate is measured in some milliseconds at the start, which is good to some parts in ten thousand, and neither it nor
the host's clock (which is disciplined) keeps it. So a thread compares guest time with host time, after a second at first and less
often then, and gives guest time the slope that brings the two together by the next look. Guest time never goes back: where it is
ahead it goes slower for a while, by `MOST` at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from gasang.cpus.riscv64.clock import TIMEBASE

SECOND = 1_000_000_000
MEASURE_NS = 5_000_000
FIRST_LOOK, LATER_LOOKS = 1.0, 16.0
"""Seconds to the first look, and between later ones; each is twice the one before until then."""
MOST = 0.01
"""The part of its rate by which guest time is sped up or slowed down to meet host time."""
LEAP = TIMEBASE // 10
"""Guest time that is further off than this (0.1 s) is not steered there: the host has slept, or its counter has jumped."""
TRIES = 5

Ticks = Callable[[], int]


class Moment(NamedTuple):
    """The host's counter and its monotonic clock (nanoseconds) at one time."""

    ticks: int
    ns: int


def moment(ticks: Ticks, now: Callable[[], int] = time.monotonic_ns) -> Moment:
    """Both clocks read as close together as this thread is let: the narrowest of some tries."""
    width, best = -1, Moment(0, 0)
    for _ in range(TRIES):
        before, ns, after = ticks(), now(), ticks()
        if width < 0 or after - before < width:
            width, best = after - before, Moment((before + after) // 2, ns)
    return best


@cache
def ticks_per_second(ticks: Ticks) -> float:
    """The counter's rate, measured once a process."""
    first = last = moment(ticks)
    while last.ns < first.ns + MEASURE_NS:
        last = moment(ticks)
    return (last.ticks - first.ticks) * SECOND / (last.ns - first.ns)


class GuestClock:
    """Steers the clock in `shared` (riscv64.state.Shared) by `steer(scale, step)`; `look` reads the host's clocks."""

    def __init__(self, shared: Any, steer: Callable[[int, int], None], look: Callable[[], Moment], rate: float) -> None:
        self._shared = shared
        self._steer = steer
        self._look = look
        self._start = self._last = look()
        self._scale = self._scale_of(rate)
        self._thread: threading.Thread | None = None
        shared.clock_ticks, shared.clock_time, shared.clock_scale = self._start.ticks, 0, self._scale

    @staticmethod
    def _scale_of(rate: float) -> int:
        return round(TIMEBASE * 2**32 / rate)

    def _guest_time(self, ticks: int) -> int:
        shared = self._shared
        elapsed = max(ticks - int(shared.clock_ticks), 0)
        return int(shared.clock_time) + (elapsed * int(shared.clock_scale) >> 32)

    def follow(self, seconds: float) -> None:
        """Look at the host's clocks, and steer so that guest time meets host time in `seconds`."""
        here, last = self._look(), self._last
        self._last = here
        behind = (here.ns - self._start.ns) * TIMEBASE // SECOND - self._guest_time(here.ticks)
        if abs(behind) > LEAP:
            self._leap(behind)
            return
        if here.ticks > last.ticks and here.ns > last.ns:
            self._scale = self._scale_of((here.ticks - last.ticks) * SECOND / (here.ns - last.ns))
        part = max(-MOST, min(MOST, behind / (seconds * TIMEBASE)))
        self._steer(round(self._scale * (1 + part)), 0)

    def _leap(self, behind: int) -> None:
        """Make up at once for what guest time has missed; where it is ahead, what was counted stays counted. The rate is kept."""
        if behind < 0:
            self._start = self._start._replace(ns=self._start.ns + behind * SECOND // TIMEBASE)
        self._steer(self._scale, max(behind, 0))

    def start(self, stopping: threading.Event) -> None:
        """Follow host time until `stopping` is set."""
        self._thread = threading.Thread(target=self._keep, args=(stopping,), name="guest clock", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until nobody steers any more; `stopping` is set."""
        if self._thread is not None:
            self._thread.join()

    def _keep(self, stopping: threading.Event) -> None:
        seconds = FIRST_LOOK
        while not stopping.wait(seconds):
            seconds = min(2 * seconds, LATER_LOOKS)
            self.follow(seconds)
