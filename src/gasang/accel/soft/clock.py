"""Guest time for the harts: the host's constant-rate counter scaled to 10 MHz."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

from gasang.cpus.riscv64.clock import TIMEBASE

MEASURE_NS = 20_000_000


@cache
def ticks_per_second(ticks: Callable[[], int]) -> float:
    """The counter's rate, measured once a process."""
    first, begin = ticks(), time.perf_counter_ns()
    while time.perf_counter_ns() < begin + MEASURE_NS:
        pass
    last, end = ticks(), time.perf_counter_ns()
    return (last - first) * 1e9 / (end - begin)


class GuestClock:
    """Keeps the machine's anchor: guest time at a moment of the host's counter, and the rate between them.

    A rate measured over 20 ms is off by some parts in a million; each `follow` measures it over the machine's whole life, so guest
    time stays with the
    host's monotonic clock.
    """

    def __init__(self, shared: Any, ticks: Callable[[], int]) -> None:
        self._shared = shared
        self._ticks = ticks
        self._start_ticks, self._start_ns = ticks(), time.monotonic_ns()
        shared.clock_ticks, shared.clock_time = self._start_ticks, 0
        shared.clock_scale = int(TIMEBASE * 2**32 / ticks_per_second(ticks))
