"""Guest time: it begins at 0 and goes as fast as the host's clock, also where readings are disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from gasang.accel.soft import clock
from gasang.accel.soft.clock import GuestClock, Moment, first_moment, moment, rate_between
from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.library import load


def test_the_rate_is_that_of_the_hosts_clock() -> None:
    ticks = load().functions["host_ticks"]
    begin = moment(ticks)
    time.sleep(0.05)
    middle = moment(ticks)
    time.sleep(0.05)
    end = moment(ticks)
    assert rate_between(begin, middle) == pytest.approx(rate_between(middle, end), rel=1e-3)


def test_a_disturbed_reading_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter ticks each nanosecond; all readings but one are interrupted for a millisecond."""
    now = 0

    def clock_ns() -> int:
        nonlocal now
        now += 50
        return now

    readings = 0

    def ticks() -> int:
        nonlocal now, readings
        readings += 1
        value = now
        now += 50 if readings == 5 else 1_000_000
        return value

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=clock_ns))
    found = moment(ticks)
    assert abs(found.ticks - found.nanoseconds) <= 100


def test_rate() -> None:
    assert rate_between(Moment(1000, 5_000_000_000), Moment(7000, 7_000_000_000)) == 3000


def test_a_process_looks_once() -> None:
    assert first_moment() is first_moment()


@pytest.fixture
def machine() -> Iterator[SoftMachine]:
    made = SoftMachine(0x8000_0000, 1 << 20, 1)
    yield made
    made.close()


def test_guest_time_goes_with_the_hosts(machine: SoftMachine) -> None:
    hart = machine.harts[0]
    read = machine.processor.functions["time_of"]
    guest = machine.clock
    assert isinstance(guest, GuestClock)
    before = time.perf_counter()
    guest.begin()
    begun = time.perf_counter()
    time.sleep(0.1)
    asked = time.perf_counter()
    value = read(hart.address) / TIMEBASE
    answered = time.perf_counter()
    assert (asked - begun) * (1 - 1e-3) <= value <= (answered - before) * (1 + 1e-3)
