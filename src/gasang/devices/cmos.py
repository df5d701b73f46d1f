"""The PC's CMOS clock, an MC146818 (Motorola data sheet, 1984): an index port, a data port, the time of day, and some battery-backed bytes.

    0x00 seconds  0x02 minutes  0x04 hours  0x06 day of the week  0x07 day  0x08 month  0x09 year  0x32 century
    0x0a A: bit 7, an update is in progress (never seen here)
    0x0b B: bit 1, 24 hours; bit 2, binary instead of BCD
    0x0c C: interrupt flags   0x0d D: bit 7, the battery is good

The time is the host's (UTC) plus the guest's own offset. Alarm and periodic interrupts are not there: register C reads as zero.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gasang.core.protocols import State
from gasang.devices.state import check_version

INDEX, DATA = 0, 1
SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR = 0, 2, 4, 6, 7, 8, 9
A, B, C, D, CENTURY = 0x0A, 0x0B, 0x0C, 0x0D, 0x32
B_24H, B_BINARY = 2, 4
BATTERY_GOOD = 0x80
_PM = 0x80
_BYTES = 128
_FIXED = (C, D)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253_402_300_799
"""The end of the year 9999."""


class Cmos:
    """The clock; `now` gives seconds since 1970."""

    size = 2

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._offset = 0
        self._index = 0
        self._bytes = bytearray(_BYTES)
        self._bytes[A], self._bytes[B] = 0x26, B_24H

    def read(self, offset: int, width: int) -> int:
        """The register chosen; the index port itself cannot be read."""
        if offset != DATA:
            return 0xFF
        if self._index in _FIXED:
            return BATTERY_GOOD if self._index == D else 0
        value = self._fields().get(self._index)
        return self._bytes[self._index] if value is None else self._coded(self._index, value)

    def write(self, offset: int, width: int, value: int) -> None:
        """Choose a register, or store to it; storing to a field of the time sets the guest's clock."""
        value &= 0xFF
        if offset == INDEX:
            self._index = value & (_BYTES - 1)
        elif self._index in self._fields():
            self._set(self._index, self._plain(self._index, value))
        elif self._index not in _FIXED:
            self._bytes[self._index] = value

    def reset(self) -> None:
        """The battery keeps everything but the index."""
        self._index = 0

    def save(self) -> State:
        """The bytes, the index, and the guest's offset from the host's clock in seconds."""
        return {"version": 1, "bytes": bytes(self._bytes), "index": self._index, "offset": self._offset}

    def load(self, state: State) -> None:
        """Become the saved clock: it shows the time of day, not that of the snapshot."""
        check_version(state, "CMOS clock", 1)
        self._bytes[:], self._index, self._offset = state["bytes"], state["index"], state["offset"]

    def _time(self) -> datetime:
        """The guest's time. An offset and a host's clock of any value give some moment that a clock can show."""
        seconds = int(self._now()) + self._offset
        return _EPOCH + timedelta(seconds=min(max(seconds, 0), _LATEST))

    def _fields(self) -> dict[int, int]:
        when = self._time()
        return {
            SECONDS: when.second, MINUTES: when.minute, HOURS: when.hour, WEEKDAY: when.isoweekday() % 7 + 1, DAY: when.day,
            MONTH: when.month, YEAR: when.year % 100, CENTURY: when.year // 100,
        }  # fmt: skip

    def _set(self, field: int, value: int) -> None:
        """Move the guest's clock so that one field has `value`; a value that no such moment has is ignored."""
        when = self._time()
        parts = {
            SECONDS: when.second, MINUTES: when.minute, HOURS: when.hour, DAY: when.day, MONTH: when.month, YEAR: when.year % 100,
            CENTURY: when.year // 100, field: value,
        }  # fmt: skip
        year = parts[CENTURY] * 100 + parts[YEAR]
        try:
            changed = datetime(year, parts[MONTH], parts[DAY], parts[HOURS], parts[MINUTES], parts[SECONDS], tzinfo=UTC)
        except ValueError:
            return
        self._offset += int((changed - when).total_seconds())

    def _coded(self, field: int, value: int) -> int:
        mode = self._bytes[B]
        evening = field == HOURS and not mode & B_24H and value >= 12
        if field == HOURS and not mode & B_24H:
            value = value % 12 or 12
        coded = value if mode & B_BINARY else value // 10 << 4 | value % 10
        return coded | (_PM if evening else 0)

    def _plain(self, field: int, coded: int) -> int:
        mode = self._bytes[B]
        twelve = field == HOURS and not mode & B_24H
        evening = twelve and bool(coded & _PM)
        coded &= 0x7F if twelve else 0xFF
        value = coded if mode & B_BINARY else (coded >> 4) * 10 + (coded & 0x0F)
        return value % 12 + (12 if evening else 0) if twelve else value
