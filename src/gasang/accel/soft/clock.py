"""Guest time for the harts: the host's constant-rate counter scaled to 10 MHz.

The counter's rate is measured against the host's clock from the process's first look at both, so a start need not wait for a measurement:
it has something to do meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.library import load

READINGS = 8
ROUGH_NS, FINE_NS = 2_000_000, 20_000_000
"""How long the rate is measured at least: before a machine is built, and before it starts. The readings are some 100 ns off."""


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


@cache
def first_moment() -> Moment:
    """The process's first."""
    return moment(load().functions["host_ticks"])


def rate_between(begin: Moment, end: Moment) -> float:
    """Ticks a second."""
    return (end.ticks - begin.ticks) * 1e9 / (end.nanoseconds - begin.nanoseconds)


class GuestClock:
    """Keeps the machine's anchor: guest time at a moment of the host's counter, and the rate from there on.

    The longer the process lives before a machine starts, the better the rate; from 20 ms on it is off by some parts in a million.
    """

    def __init__(self, shared: Any, ticks: Callable[[], int]) -> None:
        self._shared = shared
        self._ticks = ticks
        self._anchor(ROUGH_NS)

    def begin(self) -> None:
        """Guest time is 0 now."""
        self._anchor(FINE_NS)

    def _anchor(self, least: int) -> None:
        first = first_moment()
        while time.perf_counter_ns() < first.nanoseconds + least:
            pass
        now = moment(self._ticks)
        self._shared.clock_ticks, self._shared.clock_time = now.ticks, 0
        self._shared.clock_scale = int(TIMEBASE * 2**32 / rate_between(first, now))
