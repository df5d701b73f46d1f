"""Guest time: it begins at 0, follows host time for hours, whatever the host's clocks do, and never goes back."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.accel.soft import clock
from gasang.accel.soft.clock import FIRST_LOOK, LATER_LOOKS, LEAP, SECOND, GuestClock, Moment, first_moment, moment, rate_between
from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.library import load

RATE = 2_500_000_000.0
HOUR = 3600
NOISE = 2000
"""Nanoseconds by which a look at both clocks may be off."""


class Host:
    """A host whose counter wanders against its clock, and the guest time made of it. `at(second)` moves on."""

    def __init__(self, measured: float = RATE, wander: Callable[[float], float] = lambda second: 0.0) -> None:
        self.ns = 5 * HOUR * SECOND
        self.ticks = 1 << 60
        self._begin = self.ns
        self._wander = wander
        self._random = random.Random(1)
        self.shared = SimpleNamespace(clock_ticks=0, clock_time=0, clock_scale=0)
        self.last = 0
        first = Moment(self.ticks - round(measured), self.ns - SECOND)
        self.clock = GuestClock(self.shared, self.steer, lambda: Moment(self.ticks, self.ns), first)
        self.clock._look = self.look

    def look(self) -> Moment:
        return Moment(self.ticks, self.ns + self._random.randint(-NOISE, NOISE))

    def steer(self, scale: int, step: int) -> None:
        """As riscv64.clock.steer_clock."""
        assert step >= 0
        before = self.guest()
        self.shared.clock_ticks, self.shared.clock_time, self.shared.clock_scale = self.ticks, before + step, scale
        assert self.guest() == before + step

    def guest(self) -> int:
        """Guest time; it never goes back."""
        now = int(self.shared.clock_time) + ((self.ticks - self.shared.clock_ticks) * self.shared.clock_scale >> 32)
        assert now >= self.last
        self.last = now
        return now

    def go_on(self, seconds: float) -> None:
        """Time passes."""
        second = (self.ns - self._begin) / SECOND
        self.ns += round(seconds * SECOND)
        self.ticks += round(seconds * RATE * (1 + self._wander(second + seconds / 2)))

    def off(self) -> float:
        """Seconds by which guest time is ahead of host time."""
        return self.guest() / TIMEBASE - (self.ns - self._begin) / SECOND

    def follow_for(self, hours: float) -> list[float]:
        """How far off guest time is, before each look and between them."""
        seconds, off = FIRST_LOOK, []
        while self.ns - self._begin < hours * HOUR * SECOND:
            for _ in range(4):
                self.go_on(seconds / 4)
                off.append(self.off())
            seconds = min(2 * seconds, LATER_LOOKS)
            self.clock.follow(seconds)
        return off


WANDERS: dict[str, Callable[[float], float]] = {
    "steady": lambda second: 0.0,
    "off all the time": lambda second: 300e-6,
    "warming up": lambda second: 40e-6 * (1 - math.exp(-second / 600)),
    "disciplined to and fro": lambda second: 100e-6 * math.sin(second / 900),
}


@pytest.mark.parametrize("measured", [RATE, RATE * (1 + 300e-6), RATE * (1 - 300e-6)])
@pytest.mark.parametrize("wander", WANDERS)
def test_after_ten_hours_it_is_host_time_still(wander: str, measured: float) -> None:
    off = Host(measured, WANDERS[wander]).follow_for(10)
    assert max(map(abs, off[:60])) < 0.002
    assert max(map(abs, off[60:])) < 0.000_2


def test_unfollowed_it_drifts() -> None:
    """That it is the following that keeps it."""
    host = Host(RATE * (1 + 300e-6))
    host.go_on(10 * HOUR)
    assert abs(host.off()) > 10


@pytest.mark.parametrize("measured", [RATE * 1.05, RATE * 0.95])
def test_a_measure_that_was_disturbed_is_mended_gently(measured: float) -> None:
    """A first rate 5 % off costs 50 ms, which are made up at one part in a hundred."""
    off = Host(measured).follow_for(0.05)
    assert 0.04 < max(map(abs, off)) < 0.06
    assert abs(off[-1]) < 0.000_2


def test_a_host_that_stood_still_does_not_stop_the_guest() -> None:
    """The counter went on for an hour in which the clock stood: that hour stays counted."""
    host = Host()
    host.follow_for(0.01)
    host.ticks += round(RATE * HOUR)
    ahead = host.off()
    assert ahead == pytest.approx(HOUR, abs=0.01)
    host.clock.follow(LATER_LOOKS)
    for _ in range(100):
        host.go_on(LATER_LOOKS)
        assert host.off() == pytest.approx(ahead, abs=1e-3)
        host.clock.follow(LATER_LOOKS)


def test_a_counter_that_stood_still_is_made_up_for() -> None:
    host = Host()
    host.follow_for(0.01)
    host.ns += HOUR * SECOND
    host.clock.follow(LATER_LOOKS)
    assert abs(host.off()) < 1e-5
    for _ in range(3):
        host.go_on(LATER_LOOKS)
        assert abs(host.off()) < 0.001
        host.clock.follow(LATER_LOOKS)


@given(
    moves=st.lists(
        st.tuples(st.integers(-3 * SECOND, 20 * SECOND), st.integers(-(1 << 36), 1 << 37), st.sampled_from([1.0, 2.0, 16.0])), max_size=12
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_the_clocks_do_time_does_not_go_back(moves: list[tuple[int, int, float]]) -> None:
    """Clocks that jump either way; the slope stays one that time can have."""
    shared = SimpleNamespace(clock_ticks=0, clock_time=0, clock_scale=0)
    here = Moment(1 << 40, 1 << 40)
    steered: list[tuple[int, int]] = []
    followed = GuestClock(
        shared, lambda scale, step: steered.append((scale, step)), lambda: here, Moment(here.ticks - round(RATE), here.nanoseconds - SECOND)
    )
    for ns, ticks, seconds in moves:
        here = Moment(max(here.ticks + ticks, 0), max(here.nanoseconds + ns, 0))
        followed.follow(seconds)
    assert len(steered) == len(moves)
    assert all(0 <= scale < 1 << 64 and (step == 0 or step > LEAP) for scale, step in steered)


def test_a_running_machine_is_steered_and_ends(make_machine: Callable[..., SoftMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gasang.accel.soft.clock.FIRST_LOOK", 0.01)
    looked = threading.Event()
    machine = make_machine(bytes.fromhex("6f000000"))
    machine.clock.follow = lambda seconds: looked.set()  # type: ignore[method-assign]
    machine.start(0x8000_0000, 0)
    assert looked.wait(20)
    machine.stop()
    machine.join()
    assert machine.clock._thread is not None
    assert not machine.clock._thread.is_alive()


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
    made.stop()
    made.close()


def test_guest_time_goes_with_the_hosts(machine: SoftMachine) -> None:
    hart = machine.harts[0]
    read = machine.processor.functions["time_of"]
    guest = machine.clock
    before = time.perf_counter()
    guest.begin(machine.stopping)
    begun = time.perf_counter()
    time.sleep(0.1)
    asked = time.perf_counter()
    value = read(hart.address) / TIMEBASE
    answered = time.perf_counter()
    assert (asked - begun) * (1 - 1e-3) <= value <= (answered - before) * (1 + 1e-3)


@pytest.mark.parametrize("pause", [0.001, 1.0, 100 * HOUR])
def test_time_that_stood_still_goes_on_where_it_stood_and_keeps_up(pause: float) -> None:
    host = Host()
    host.go_on(10)
    host.clock.follow(16)
    held = host.clock.hold()
    assert held == host.guest()
    host.go_on(pause)
    host.clock.follow(16)

    def back(scale: int, step: int) -> None:
        before = int(host.shared.clock_time) + ((host.ticks - host.shared.clock_ticks) * host.shared.clock_scale >> 32)
        host.shared.clock_ticks, host.shared.clock_time, host.shared.clock_scale = host.ticks, (before + step) % (1 << 64), scale

    host.clock._steer = back
    host.clock.go_on()
    assert abs(host.guest() - held) <= 1
    host.clock._steer = host.steer
    host._begin += round(pause * SECOND)
    assert max(map(abs, host.follow_for(1))) < 0.01


def test_a_restored_machine_begins_where_its_time_stood() -> None:
    host, stopping = Host(), threading.Event()
    stopping.set()
    host.clock.begin(stopping, 1234 * TIMEBASE)
    host.clock.join()
    assert host.guest() == 1234 * TIMEBASE
    host._begin = host.ns - 1234 * SECOND
    assert max(map(abs, host.follow_for(1))) < 0.01
