"""The Goldfish real-time clock (GOLDFISH-VIRTUAL-HARDWARE, "Goldfish RTC"): nanoseconds since 1970 in two 32-bit halves.

    0x00 TIME_LOW         read: the low half, and the high half is latched; write: set the clock to (TIME_HIGH, value)
    0x04 TIME_HIGH        read: the latched half; write: the high half of the next setting
    0x08 ALARM_LOW        write: set the alarm to (ALARM_HIGH, value)
    0x0c ALARM_HIGH
    0x10 IRQ_ENABLED
    0x14 CLEAR_ALARM      write: forget the alarm
    0x18 ALARM_STATUS     read: 1 while an alarm is set
    0x1c CLEAR_INTERRUPT  write: lower the interrupt

A guest that sets its clock moves its own offset from the host's; the host's clock is never touched. After a restore the
clock shows the time of day, not the time of the snapshot.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from gasang.core.protocols import IrqLine, State
from gasang.devices.lock import Lock
from gasang.devices.state import check_version

TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH = 0x00, 0x04, 0x08, 0x0C
IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT = 0x10, 0x14, 0x18, 0x1C

WORD = 0xFFFF_FFFF
LONGEST_WAIT = 86_400.0
"""Seconds a host timer is set for at most; a later alarm is waited for in steps (a guest may ask for the year 2554)."""


class Schedule(Protocol):
    """Calls a function after a number of seconds, on any thread; what it returns calls that off."""

    def __call__(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]: ...


def host_timer(seconds: float, function: Callable[[], None]) -> Callable[[], None]:
    """Schedule on a host thread that does not keep the process alive."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer.cancel


class GoldfishRtc:
    """The clock. `lock` is the bus lock, taken when an alarm fires; `now` gives nanoseconds since 1970."""

    size = 0x1000

    def __init__(self, irq: IrqLine, lock: Lock, now: Callable[[], int] = time.time_ns, schedule: Schedule = host_timer) -> None:
        self._irq = irq
        self._lock = lock
        self._now = now
        self._schedule = schedule
        self._cancel: Callable[[], None] | None = None
        self._offset = 0
        self._latched_high = self._time_high = self._alarm = 0
        self._enabled = self._armed = self._fired = False

    def read(self, offset: int, width: int) -> int:
        """A 32-bit register; others read as zero."""
        if width != 4:
            return 0
        if offset == TIME_LOW:
            now = self._guest_time()
            self._latched_high = now >> 32
            return now & WORD
        registers = {
            TIME_HIGH: self._latched_high,
            ALARM_LOW: self._alarm & WORD,
            ALARM_HIGH: self._alarm >> 32,
            IRQ_ENABLED: int(self._enabled),
            ALARM_STATUS: int(self._armed),
        }
        return registers.get(offset, 0)

    def write(self, offset: int, width: int, value: int) -> None:
        """Take a store to a 32-bit register; others ignore it."""
        if width != 4:
            return
        if offset == TIME_LOW:
            self._offset = (self._time_high << 32 | value) - self._now()
        elif offset == TIME_HIGH:
            self._time_high = value
        elif offset == ALARM_LOW:
            self._alarm = self._alarm & ~WORD | value
            self._armed = True
        elif offset == ALARM_HIGH:
            self._alarm = self._alarm & WORD | value << 32
        elif offset == IRQ_ENABLED:
            self._enabled = bool(value & 1)
        elif offset == CLEAR_ALARM:
            self._armed = False
        elif offset == CLEAR_INTERRUPT:
            self._fired = False
        self._update()

    def reset(self) -> None:
        """No alarm, no interrupt; the clock keeps the time it was set to, as a battery-backed one does."""
        self._latched_high = self._time_high = self._alarm = 0
        self._enabled = self._armed = self._fired = False
        self._update()

    def save(self) -> State:
        """The registers and the guest's offset from the host's clock, nanoseconds."""
        return {
            "version": 1,
            "offset": self._offset,
            "latched_high": self._latched_high,
            "time_high": self._time_high,
            "alarm": self._alarm,
            "enabled": int(self._enabled),
            "armed": int(self._armed),
            "fired": int(self._fired),
        }

    def load(self, state: State) -> None:
        """Become the saved clock; an alarm that has passed meanwhile fires now."""
        check_version(state, "RTC", 1)
        self._offset, self._latched_high, self._time_high = state["offset"], state["latched_high"], state["time_high"]
        self._alarm = state["alarm"]
        self._enabled, self._armed, self._fired = bool(state["enabled"]), bool(state["armed"]), bool(state["fired"])
        self._update()

    def renew(self) -> None:
        """In a forked process, which has none of its parent's timers: have the alarm waited for here. The bus lock is held."""
        self._cancel = None
        self._update()

    def _guest_time(self) -> int:
        return (self._now() + self._offset) & ((1 << 64) - 1)

    def _update(self) -> None:
        """Fire a due alarm, have a future one waited for, and drive the line."""
        if self._cancel:
            self._cancel()
            self._cancel = None
        if self._armed:
            wait = (self._alarm - self._guest_time()) / 1e9
            if wait <= 0:
                self._armed, self._fired = False, True
            else:
                self._cancel = self._schedule(min(wait, LONGEST_WAIT), self._timer_expired)
        self._irq.set(self._fired and self._enabled)

    def _timer_expired(self) -> None:
        with self._lock:
            self._update()
