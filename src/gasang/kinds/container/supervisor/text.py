"""Text for the log: JSON strings and times, as Docker's json-file driver writes them.

A JSON string escapes quotation mark, backslash, control characters, `<`, `>`, `&` and the line separators U+2028 and U+2029; what is no
UTF-8 becomes U+FFFD, a byte at a time. A time is RFC 3339 in UTC with as many digits of the second as it needs, nine at most.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import NANOSECONDS, word
from gasang.native import boolean, cast, ctz, load_unaligned, native, ptr, store_unaligned, u8, u16, u32, u64

_ONES: Final = 0x0101_0101_0101_0101
_TOPS: Final = 0x8080_8080_8080_8080
_CONTROL: Final = 0x20 * _ONES
_ANGLES: Final = 0x3E * _ONES
_QUOTE_OR_AND: Final = 0x26 * _ONES
_BACKSLASHES: Final = 0x5C * _ONES
_NEWLINES: Final = 0x0A * _ONES
_TWOS, _FOURS = 2 * _ONES, 4 * _ONES
_SPACES: Final = 0x20 * _ONES & ~0xFF
UNICODE: Final = word("\\u00")
_REPLACEMENT: Final = word("\\ufffd")
_LINE_SEPARATOR: Final = word("\\u2028")
_NEWLINE, _RETURN, _QUOTE, _BACKSLASH = 0x0A, 0x0D, 0x22, 0x5C
_ESCAPED_NEWLINE: Final = word("\\n")
_ESCAPED_RETURN: Final = word("\\r")
MOST_GROWTH: Final = 6
"""A byte becomes at most so many."""
TIME_SIZE: Final = 32
_DAY: Final = 86_400


@native
def put(to: ptr[u8], text: u64) -> None:
    """Store eight characters; those after the text are written over by what follows."""
    store_unaligned(cast(ptr[u64], to), text)


@native
def find_newline(text: ptr[u8], count: u64) -> u64:
    """The place of the first newline, or `count`."""
    i: u64 = 0
    while i + 8 <= count:
        w = load_unaligned(cast(ptr[u64], text + i)) ^ _NEWLINES
        hit = (w - _ONES) & ~w & _TOPS
        if hit != 0:
            return i + (ctz(hit) >> 3)
        i += 8
    while i < count:
        if text[i] == _NEWLINE:
            return i
        i += 1
    return count


@native
def hex_digit(value: u8) -> u8:
    """A digit below sixteen as a character."""
    return value + 0x30 if value < 10 else value + 0x57


@native
def is_continuation(byte: u8) -> boolean:
    """Whether a byte is 10xxxxxx."""
    return byte & 0xC0 == 0x80


@native
def sequence_length(text: ptr[u8], count: u64) -> u64:
    """Bytes of the UTF-8 character that begins here (Unicode, table 3-7); 0 if none does."""
    first = text[0]
    if count < 2 or not is_continuation(text[1]):
        return 0
    second = text[1]
    if first >= 0xC2 and first <= 0xDF:
        return 2
    if count < 3 or first < 0xE0 or not is_continuation(text[2]):
        return 0
    if first <= 0xEF:
        wrong = (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F)
        return 0 if wrong else 3
    if count < 4 or first > 0xF4 or not is_continuation(text[3]):
        return 0
    wrong = (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F)
    return 0 if wrong else 4


@native
def put_ascii(to: ptr[u8], byte: u8) -> u64:
    """Write one character of ASCII that must be escaped; how many it takes."""
    if byte == _QUOTE or byte == _BACKSLASH:
        to[0] = _BACKSLASH
        to[1] = byte
        return 2
    if byte == _NEWLINE or byte == _RETURN:
        put(to, _ESCAPED_NEWLINE if byte == _NEWLINE else _ESCAPED_RETURN)
        return 2
    put(to, UNICODE)
    to[4] = hex_digit(byte >> 4)
    to[5] = hex_digit(byte & 15)
    return 6


@native
def marked_bytes(w: u64) -> u64:
    """Eight bytes with the top bit set in the first that does not stand for itself, and in none before it; 0 if all do."""
    angle = (w | _TWOS) ^ _ANGLES
    mark = (w | _FOURS) ^ _QUOTE_OR_AND
    slash = w ^ _BACKSLASHES
    control = (w - _CONTROL) & ~w
    found = w | control | ((angle - _ONES) & ~angle) | ((mark - _ONES) & ~mark) | ((slash - _ONES) & ~slash)
    return found & _TOPS


@native(inline=False)
def put_special(to: ptr[u8], text: ptr[u8], count: u64, used: ptr[u64]) -> u64:
    """Write one character; how many bytes it takes. `used` is how many it had."""
    byte = text[0]
    used[0] = 1
    if marked_bytes(u64(byte) | _SPACES) == 0:
        to[0] = byte
        return 1
    if byte < 0x80:
        return put_ascii(to, byte)
    size = sequence_length(text, count)
    if size == 0:
        put(to, _REPLACEMENT)
        return 6
    used[0] = size
    if size == 3 and byte == 0xE2 and text[1] == 0x80 and text[2] & 0xFE == 0xA8:
        put(to, _LINE_SEPARATOR)
        to[5] += text[2] & 1
        return 6
    for i in range(size):
        to[i] = text[i]
    return size


@native
def is_ordinary_triple(w: u32) -> boolean:
    """Whether a character of three bytes begins here that is valid by its first two bytes' form alone, and no line separator."""
    first = w & 0xFF
    return w & 0xC0_C0_F0 == 0x80_80_E0 and first != 0xE0 and first != 0xED and w & 0xFFFF != 0x80E2


@native(inline=False)
def escape(to: ptr[u8], text: ptr[u8], count: u64, room: ptr[u64]) -> u64:
    """Write text as the inside of a JSON string; its length.

    `to` has six bytes for each of the text's, and eight more; `room` is for one word.
    """
    i: u64 = 0
    out: u64 = 0
    while i + 8 <= count:
        w = load_unaligned(cast(ptr[u64], text + i))
        store_unaligned(cast(ptr[u64], to + out), w)
        marked = marked_bytes(w)
        if marked == 0:  # constants here, so that the next turn need not wait for the count
            i += 8
            out += 8
            continue
        i += ctz(marked) >> 3
        out += ctz(marked) >> 3
        byte = text[i]
        if byte == _QUOTE or byte == _BACKSLASH:
            store_unaligned(cast(ptr[u16], to + out), u16(byte) << 8 | _BACKSLASH)
            i += 1
            out += 2
            continue
        triples = i
        while i + 4 <= count and is_ordinary_triple(load_unaligned(cast(ptr[u32], text + i))):
            store_unaligned(cast(ptr[u32], to + out), load_unaligned(cast(ptr[u32], text + i)))
            i += 3
            out += 3
        if i == triples:
            out += put_special(to + out, text + i, count - i, room)
            i += room[0]
    while i < count:
        out += put_special(to + out, text + i, count - i, room)
        i += room[0]
    return out


# ---------------------------------------------------------------------- times


@native
def put_two(to: ptr[u8], value: u64) -> None:
    """Two decimal digits."""
    to[0] = u8(value // 10) + 0x30
    to[1] = u8(value % 10) + 0x30


@native
def put_date(to: ptr[u8], days: u64) -> None:
    """Days since 1970 as YYYY-MM-DD, in the Gregorian calendar: years begin in March, so that a leap day ends one."""
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted % 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    year: u64 = year_of_era + era * 400 + (0 if month < 10 else 1)
    put_two(to, year // 100)
    put_two(to + 2, year % 100)
    to[4] = 0x2D
    put_two(to + 5, month + 3 if month < 10 else month - 9)
    to[7] = 0x2D
    put_two(to + 8, day_of_year - (153 * month + 2) // 5 + 1)


@native(inline=False)
def put_time(to: ptr[u8], time: u64) -> u64:
    """Nanoseconds since 1970 as RFC 3339, at most 30 characters of TIME_SIZE; how many."""
    seconds = time // NANOSECONDS
    fraction = time % NANOSECONDS
    put_date(to, seconds // _DAY)
    of_day = seconds % _DAY
    to[10] = 0x54
    put_two(to + 11, of_day // 3600)
    to[13] = 0x3A
    put_two(to + 14, of_day % 3600 // 60)
    to[16] = 0x3A
    put_two(to + 17, of_day % 60)
    end: u64 = 19
    if fraction != 0:
        to[19] = 0x2E
        digits: u64 = 9
        while fraction % 10 == 0:
            fraction = fraction // 10
            digits -= 1
        end = 20 + digits
        place = end
        while digits > 0:
            place -= 1
            to[place] = u8(fraction % 10) + 0x30
            fraction = fraction // 10
            digits -= 1
    to[end] = 0x5A
    return end + 1


@native
def put_decimal(to: ptr[u8], value: u32) -> u64:
    """A number in decimal; how many digits."""
    digits: u64 = 1
    rest = value // 10
    while rest != 0:
        digits += 1
        rest = rest // 10
    rest = value
    for i in range(digits):
        to[digits - 1 - i] = u8(rest % 10) + 0x30
        rest = rest // 10
    return digits
