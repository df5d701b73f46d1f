"""The clock: latched reads, setting, alarms on a host timer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from gasang.devices.goldfish_rtc import LONGEST_WAIT, GoldfishRtc, host_timer
from support.board_parts import FakeIrq

SECOND = 1_000_000_000
TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH, IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT = range(0, 0x20, 4)


class Clock:
    """A host whose time the test moves."""

    def __init__(self) -> None:
        self.time = 1_700_000_000 * SECOND
        self.waits: list[tuple[float, Callable[[], None]]] = []
        self.irq = FakeIrq()
        self.rtc = GoldfishRtc(self.irq, threading.RLock(), lambda: self.time, self.schedule)

    def schedule(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        entry = seconds, function
        self.waits.append(entry)
        return lambda: self.waits.remove(entry)

    def pass_time(self, seconds: float) -> None:
        self.time += int(seconds * SECOND)
        for wait, function in list(self.waits):
            if wait <= seconds:
                function()

    def read(self) -> int:
        low = self.rtc.read(TIME_LOW, 4)
        return self.rtc.read(TIME_HIGH, 4) << 32 | low

    def write(self, register: int, value: int) -> None:
        self.rtc.write(register, 4, value)

    def set_alarm(self, when: int) -> None:
        self.write(ALARM_HIGH, when >> 32)
        self.write(ALARM_LOW, when & 0xFFFF_FFFF)
        self.write(IRQ_ENABLED, 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_shows_the_hosts_time(clock: Clock) -> None:
    assert clock.read() == clock.time


def test_the_high_half_is_latched_by_reading_the_low(clock: Clock) -> None:
    clock.time = (5 << 32) - 1
    assert clock.rtc.read(TIME_LOW, 4) == 0xFFFF_FFFF
    clock.time += 1
    assert clock.rtc.read(TIME_HIGH, 4) == 4


def test_the_guest_sets_its_own_clock(clock: Clock) -> None:
    new = 1_000_000_000 * SECOND
    clock.write(TIME_HIGH, new >> 32)
    clock.write(TIME_LOW, new & 0xFFFF_FFFF)
    clock.pass_time(2)
    assert clock.read() == new + 2 * SECOND
    clock.rtc.reset()
    assert clock.read() == new + 2 * SECOND


def test_an_alarm_interrupts_once(clock: Clock) -> None:
    clock.set_alarm(clock.time + 3 * SECOND)
    assert clock.rtc.read(ALARM_STATUS, 4) == 1
    assert [wait for wait, _ in clock.waits] == [3.0]
    clock.pass_time(3)
    assert (clock.irq.level, clock.rtc.read(ALARM_STATUS, 4)) == (True, 0)
    clock.write(CLEAR_INTERRUPT, 1)
    assert not clock.irq.level
    clock.pass_time(100)
    assert not clock.irq.level
    assert not clock.waits


def test_a_past_alarm_fires_when_it_is_enabled(clock: Clock) -> None:
    clock.write(ALARM_LOW, 1)
    assert not clock.irq.level
    clock.write(IRQ_ENABLED, 1)
    assert clock.irq.level


def test_an_alarm_can_be_cleared(clock: Clock) -> None:
    clock.set_alarm(clock.time + SECOND)
    clock.write(CLEAR_ALARM, 1)
    assert not clock.waits
    clock.pass_time(2)
    assert not clock.irq.level


def test_a_far_alarm_is_waited_for_in_steps(clock: Clock) -> None:
    clock.set_alarm((1 << 64) - 1)
    assert [wait for wait, _ in clock.waits] == [LONGEST_WAIT]
    clock.pass_time(LONGEST_WAIT)
    assert [wait for wait, _ in clock.waits] == [LONGEST_WAIT]
    assert not clock.irq.level


def test_a_restored_clock_shows_the_time_of_day_and_fires_what_was_missed(clock: Clock) -> None:
    clock.set_alarm(clock.time + 10 * SECOND)
    later = Clock()
    later.time = clock.time + 60 * SECOND
    later.rtc.load(clock.rtc.save())
    assert later.read() == later.time
    assert later.irq.level


def test_other_widths_and_places_are_ignored(clock: Clock) -> None:
    assert [clock.rtc.read(TIME_LOW, 8), clock.rtc.read(0x20, 4)] == [0, 0]
    clock.rtc.write(ALARM_LOW, 1, 5)
    clock.write(0x20, 5)
    assert clock.rtc.read(ALARM_LOW, 4) == 0


def test_the_host_timer_calls_and_can_be_called_off() -> None:
    called = threading.Event()
    host_timer(0, called.set)
    assert called.wait(10)
    never = threading.Event()
    host_timer(3600, never.set)()
    assert not never.is_set()
