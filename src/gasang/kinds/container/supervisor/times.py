"""Times of log entries: from RFC 3339 to nanoseconds, and to the form with nine digits that stands before a line."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import NANOSECONDS
from gasang.native import boolean, native, ptr, u8, u64

NO_TIME: Final = 0xFFFF_FFFF_FFFF_FFFF
FIXED_SIZE: Final = 31
"""A time with nine digits of the second, and a space."""
_SHORTEST, _FRACTION = 20, 20


@native
def digits(text: ptr[u8], count: u64) -> u64:
    """A decimal number of so many digits; NO_TIME if there is something else."""
    value: u64 = 0
    for i in range(count):
        if text[i] < 0x30 or text[i] > 0x39:
            return NO_TIME
        value = value * 10 + u64(text[i] - 0x30)
    return value


@native
def days_before(year: u64, month: u64, day: u64) -> u64:
    """Days since 1970 of a date not before."""
    shifted = year - 1 if month <= 2 else year
    from_march = month + 9 if month <= 2 else month - 3
    leap_days = shifted // 4 - shifted // 100 + shifted // 400
    return shifted * 365 + leap_days + (153 * from_march + 2) // 5 + day - 1 - 719_468


@native
def has_form(text: ptr[u8], size: u64) -> boolean:
    """Whether a text looks like YYYY-MM-DDTHH:MM:SS, perhaps a fraction of at most nine digits, and Z."""
    if size < _SHORTEST or size > _FRACTION + 10 or text[size - 1] != 0x5A:
        return False
    signs = text[4] == 0x2D and text[7] == 0x2D and text[10] == 0x54 and text[13] == 0x3A and text[16] == 0x3A
    return signs and (size == _SHORTEST or (text[19] == 0x2E and size > _FRACTION + 1))


@native
def fraction_of(text: ptr[u8], size: u64) -> u64:
    """Nanoseconds of the second; NO_TIME if there is something else."""
    if size == _SHORTEST:
        return 0
    count = size - 1 - _FRACTION
    value = digits(text + _FRACTION, count)
    if value != NO_TIME:
        for _ in range(9 - count):
            value = value * 10
    return value


@native(inline=False)
def read_time(text: ptr[u8], size: u64) -> u64:
    """Nanoseconds since 1970 of an RFC 3339 time in UTC; NO_TIME for anything else, and for what is before 1970 or after 2500."""
    if not has_form(text, size):
        return NO_TIME
    year = digits(text, 4)
    month = digits(text + 5, 2)
    day = digits(text + 8, 2)
    hour = digits(text + 11, 2)
    minute = digits(text + 14, 2)
    second = digits(text + 17, 2)
    fraction = fraction_of(text, size)
    if year < 1970 or year > 2500 or month < 1 or month > 12 or day < 1 or day > 31:
        return NO_TIME
    if hour > 23 or minute > 59 or second > 60 or fraction == NO_TIME:
        return NO_TIME
    return (days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * NANOSECONDS + fraction


@native
def put_fixed_time(to: ptr[u8], text: ptr[u8], size: u64) -> None:
    """A time (its form has been checked) with nine digits of the second, and a space: FIXED_SIZE characters."""
    for i in range(u64(19)):
        to[i] = text[i]
    to[19] = 0x2E
    for i in range(u64(9)):
        to[20 + i] = text[_FRACTION + i] if _FRACTION + i < size - 1 else 0x30
    to[29] = 0x5A
    to[30] = 0x20
