"""JSON strings back to bytes, and JSON values passed over, for lines of a log that may hold anything."""

from __future__ import annotations

from typing import Final

from gasang.native import cast, ctz, load_unaligned, native, ptr, store_unaligned, u8, u32, u64

NO_END: Final = 0xFFFF_FFFF_FFFF_FFFF
_ONES: Final = 0x0101_0101_0101_0101
_TOPS: Final = 0x8080_8080_8080_8080
_QUOTES: Final = 0x22 * _ONES
_BACKSLASHES: Final = 0x5C * _ONES
_QUOTE, _BACKSLASH = 0x22, 0x5C
_NO_DIGIT: Final = 0xFFFF
_REPLACEMENT: Final = 0xFFFD


@native
def hex_value(text: ptr[u8], count: u64) -> u32:
    """Four hexadecimal digits; more than 0xFFFF if they are not there."""
    if count < 4:
        return _NO_DIGIT + 1
    value: u32 = 0
    for i in range(u64(4)):
        byte = u32(text[i])
        lower = byte | 0x20
        if byte >= 0x30 and byte <= 0x39:
            value = value << 4 | (byte - 0x30)
        elif lower >= 0x61 and lower <= 0x66:
            value = value << 4 | (lower - 0x57)
        else:
            return _NO_DIGIT + 1
    return value


@native
def put_character(to: ptr[u8], character: u32) -> u64:
    """A character in UTF-8; how many bytes."""
    if character < 0x80:
        to[0] = u8(character)
        return 1
    if character < 0x800:
        to[0] = u8(0xC0 | character >> 6)
        to[1] = u8(0x80 | character & 0x3F)
        return 2
    if character < 0x1_0000:
        to[0] = u8(0xE0 | character >> 12)
        to[1] = u8(0x80 | character >> 6 & 0x3F)
        to[2] = u8(0x80 | character & 0x3F)
        return 3
    to[0] = u8(0xF0 | character >> 18)
    to[1] = u8(0x80 | character >> 12 & 0x3F)
    to[2] = u8(0x80 | character >> 6 & 0x3F)
    to[3] = u8(0x80 | character & 0x3F)
    return 4


@native(inline=False)
def put_numbered(to: ptr[u8], text: ptr[u8], count: u64, used: ptr[u64]) -> u64:
    r"""What follows \u: the character's bytes; `used` is how many characters of the text it took. Half a pair is replaced."""
    first = hex_value(text, count)
    used[0] = 4
    if first > _NO_DIGIT:
        used[0] = 0
        to[0] = 0x75  # no number: the letter stands for itself, so that no text becomes longer
        return 1
    if first < 0xD800 or first > 0xDFFF:
        return put_character(to, first)
    if first < 0xDC00 and count >= 10 and text[4] == _BACKSLASH and text[5] == 0x75:
        second = hex_value(text + 6, count - 6)
        if second >= 0xDC00 and second <= 0xDFFF:
            used[0] = 10
            return put_character(to, 0x1_0000 + ((first - 0xD800) << 10 | (second - 0xDC00)))
    return put_character(to, _REPLACEMENT)


@native
def simple_escape(byte: u8) -> u8:
    r"""What one character after a backslash stands for, other than u."""
    if byte == 0x6E:
        return 0x0A
    if byte == 0x72:
        return 0x0D
    if byte == 0x74:
        return 0x09
    if byte == 0x62:
        return 0x08
    if byte == 0x66:
        return 0x0C
    return byte


@native(inline=False)
def unescape(to: ptr[u8], text: ptr[u8], count: u64, place: ptr[u64]) -> u64:
    """The inside of a JSON string as bytes; how many, at most as many as the text has, and eight more may be touched.

    `place`, two words, gets where the closing quotation mark is: NO_END if there is none.
    """
    i: u64 = 0
    out: u64 = 0
    place[0] = NO_END
    while i < count:
        if i + 8 <= count:
            w = load_unaligned(cast(ptr[u64], text + i))
            store_unaligned(cast(ptr[u64], to + out), w)
            quote = w ^ _QUOTES
            slash = w ^ _BACKSLASHES
            hit = (((quote - _ONES) & ~quote) | ((slash - _ONES) & ~slash)) & _TOPS
            if hit == 0:
                i += 8
                out += 8
                continue
            i += ctz(hit) >> 3
            out += ctz(hit) >> 3
        byte = text[i]
        if byte == _QUOTE:
            place[0] = i
            return out
        i += 1
        if byte != _BACKSLASH:
            to[out] = byte
            out += 1
        elif i < count and text[i] == 0x75:
            out += put_numbered(to + out, text + i + 1, count - i - 1, place + 1)
            i += 1 + place[1]
        elif i < count:
            to[out] = simple_escape(text[i])
            i += 1
            out += 1
    return out


@native
def skip_string(text: ptr[u8], count: u64, start: u64) -> u64:
    """The place after the string that begins at `start`; `count` if it has no end."""
    i = start + 1
    while i < count and text[i] != _QUOTE:
        i += 2 if text[i] == _BACKSLASH else 1
    return i + 1 if i < count else count


@native
def skip_value(text: ptr[u8], count: u64, start: u64) -> u64:
    """The place after a JSON value: that of the comma or bracket that follows it, or `count`."""
    depth: u64 = 0
    i = start
    while i < count:
        byte = text[i]
        if byte == _QUOTE:
            i = skip_string(text, count, i)
            continue
        if byte == 0x7B or byte == 0x5B:
            depth += 1
        elif byte == 0x7D or byte == 0x5D:
            if depth == 0:
                return i
            depth -= 1
        elif byte == 0x2C and depth == 0:
            return i
        i += 1
    return count
