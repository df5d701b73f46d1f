"""Guest time for the harts: the host's constant-rate counter, scaled to 10 MHz and steered after the host's own clock.

The counter's rate is measured against the host's clock from the process's first look at both, so a start need not wait for a
measurement: it has something to do meanwhile. That is good to some parts in a hundred thousand, and the host's clock, which is
disciplined, does not keep it. So a thread compares guest time with host time, after a second at first and less often then, and gives
guest time the slope that brings the two together by the next look. Guest time never goes back: where it is ahead it goes slower for a
while, by `MOST` at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.library import load

SECOND = 1_000_000_000
READINGS = 8
ROUGH_NS, FINE_NS = 2_000_000, 20_000_000
"""How long the rate is measured at least: before a machine is built, and before it starts. The readings are some 100 ns off."""
FIRST_LOOK, LATER_LOOKS = 1.0, 16.0
"""Seconds to the first look, and between later ones; each is twice the one before until then."""
MOST = 0.01
"""The part of its rate by which guest time is sped up or slowed down to meet host time."""
LEAP = TIMEBASE // 10
"""Guest time that is further off than this (0.1 s) is not steered there: the host has slept, or its counter has jumped."""


class Moment(NamedTuple):
    """The host's counter and its clock in nanoseconds, at the same time."""

    ticks: int
    nanoseconds: int


def moment(ticks: Callable[[], int]) -> Moment:
    """The closest of a few readings, for a thread may be stopped between the one and the other."""
    readings = []
    for _ in range(READINGS):
        before = time.perf_counter_ns()
        count = ticks()
        after = time.perf_counter_ns()
        readings.append((after - before, Moment(count, (before + after) // 2)))
    return min(readings)[1]


def first_moment() -> Moment:
    """The process's first, or that of the one it was forked from; after the host has slept another one, as its counter may have stopped."""
    return _first_since(_slept())


@cache
def _first_since(slept: int) -> Moment:
    return moment(load().functions["host_ticks"])


def _slept() -> int:
    """Seconds that the host has slept, where it tells."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC))


def rate_between(begin: Moment, end: Moment) -> float:
    """Ticks a second."""
    return (end.ticks - begin.ticks) * 1e9 / (end.nanoseconds - begin.nanoseconds)


def _scale(rate: float) -> int:
    return round(TIMEBASE * 2**32 / rate)


class GuestClock:
    """Sets the clock in `shared` (riscv64.state.Shared), and steers it by `steer(scale, step)` while harts read it.

    `look` reads the host's counter and clock; `first` is an earlier look. The longer it is past when a machine starts, the better
    is the first rate.
    """

    def __init__(self, shared: Any, steer: Callable[[int, int], None], look: Callable[[], Moment], first: Moment) -> None:
        self._shared = shared
        self._steer = steer
        self._look = look
        self._first = first
        self._thread: threading.Thread | None = None
        self._steering = threading.Lock()
        self._held: Moment | None = None
        self._held_at = 0
        self._start = self._last = first
        self._slope = 0
        self._anchor(ROUGH_NS)

    def begin(self, stopping: threading.Event, time: int = 0) -> None:
        """Guest time is `time` now, and follows host time until `stopping` is set."""
        self._anchor(FINE_NS, time)
        self._keep_from_now(stopping)

    def hold(self) -> int:
        """Guest time stands still from now on, no hart looking meanwhile: what it is."""
        with self._steering:
            self._held = self._look()
            self._held_at = self._guest_time(self._held.ticks)
            return self._held_at

    def go_on(self) -> None:
        """Guest time goes on where it stood."""
        with self._steering:
            if self._held is None:
                return
            here = self._look()
            pause = here.nanoseconds - self._held.nanoseconds
            self._start = self._start._replace(nanoseconds=self._start.nanoseconds + pause)
            self._steer(self._slope, (self._held_at - self._guest_time(here.ticks)) % (1 << 64))
            self._held = None

    def keep_again(self, stopping: threading.Event) -> None:
        """In a forked process, which has none of its parent's threads: go on where time stood, with a thread of its own."""
        self._steering = threading.Lock()
        self.go_on()
        self._keep_from_now(stopping)

    def _keep_from_now(self, stopping: threading.Event) -> None:
        self._thread = threading.Thread(target=self._keep, args=(stopping,), name="guest clock", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until nobody steers any more; `stopping` is set."""
        if self._thread is not None:
            self._thread.join()

    def follow(self, seconds: float) -> None:
        """Look at the host's clocks, and steer so that guest time meets host time in `seconds`; nothing while time stands still."""
        with self._steering:
            if self._held is None:
                self._follow(seconds)

    def _follow(self, seconds: float) -> None:
        here, last = self._look(), self._last
        self._last = here
        behind = (here.nanoseconds - self._start.nanoseconds) * TIMEBASE // SECOND - self._guest_time(here.ticks)
        if abs(behind) > LEAP:
            self._leap(behind)
            return
        if here.ticks > last.ticks and here.nanoseconds > last.nanoseconds:
            self._slope = _scale(rate_between(last, here))
        part = max(-MOST, min(MOST, behind / (seconds * TIMEBASE)))
        self._steer(round(self._slope * (1 + part)), 0)

    def _anchor(self, least: int, time: int = 0) -> None:
        here = self._look()
        while here.nanoseconds < self._first.nanoseconds + least:
            here = self._look()
        self._start = here._replace(nanoseconds=here.nanoseconds - time * SECOND // TIMEBASE)
        self._last = here
        self._slope = _scale(rate_between(self._first, here))
        shared = self._shared
        shared.clock_ticks, shared.clock_time, shared.clock_scale = here.ticks, time, self._slope

    def _guest_time(self, ticks: int) -> int:
        shared = self._shared
        elapsed = max(ticks - int(shared.clock_ticks), 0)
        return int(shared.clock_time) + (elapsed * int(shared.clock_scale) >> 32)

    def _leap(self, behind: int) -> None:
        """Make up at once for what guest time has missed; where it is ahead, what was counted stays counted. The rate is kept."""
        if behind < 0:
            self._start = self._start._replace(nanoseconds=self._start.nanoseconds + behind * SECOND // TIMEBASE)
        self._steer(self._slope, max(behind, 0))

    def _keep(self, stopping: threading.Event) -> None:
        seconds = FIRST_LOOK
        while not stopping.wait(seconds):
            seconds = min(2 * seconds, LATER_LOOKS)
            self.follow(seconds)
