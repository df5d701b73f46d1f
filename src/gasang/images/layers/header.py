"""A tar header's fields, natively (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar and star extend it)."""

from __future__ import annotations

from gasang.images.layers.state import ABSOLUTE, BLOCK, CLIMBS, EMPTY_NAME, NUL_NAME, PATH_ROOM, TOO_LONG
from gasang.native import boolean, cast, i32, i64, load_unaligned, native, ptr, u8, u64

NAME, MODE, USER, GROUP, SIZE, TIME, SUM, KIND, LINK, MAGIC, PREFIX = 0, 100, 108, 116, 124, 136, 148, 156, 157, 257, 345
"""Where the fields start."""
SUM_SIZE = 8
BAD_NUMBER = -0x8000_0000_0000_0000
SLASH, DOT = 0x2F, 0x2E


@native
def is_zero(block: ptr[u8]) -> boolean:
    """Whether a block is all zeroes: the archive's end."""
    words = cast(ptr[u64], block)
    seen: u64 = 0
    for index in range(BLOCK // 8):
        seen |= load_unaligned(words + index)
    return seen == 0


@native
def checksum_holds(block: ptr[u8]) -> boolean:
    """Whether the header's sum is right, counted with unsigned bytes or, as some old programs did, with signed ones."""
    unsigned: i64 = 0
    signed: i64 = 0
    for index in range(BLOCK):
        unsigned += i64(block[index])
        signed += i64(i8_of(block[index]))
    for index in range(SUM_SIZE):
        unsigned += 32 - i64(block[SUM + index])
        signed += 32 - i64(i8_of(block[SUM + index]))
    told = number(block + SUM, SUM_SIZE)
    return told == unsigned or told == signed


@native(inline=True)
def i8_of(byte: u8) -> i32:
    """A byte as a signed number."""
    return i32(byte) - (256 if byte >= 128 else 0)


@native
def number(field: ptr[u8], size: u64) -> i64:
    """A field's number: octal digits between blanks, or GNU's base 256 (first bit set); BAD_NUMBER for anything else."""
    if field[0] & 0x80 != 0:
        return binary(field, size)
    index: u64 = 0
    while index < size and (field[index] == 32 or field[index] == 0):
        index += 1
    value: u64 = 0
    while index < size and field[index] >= 0x30 and field[index] <= 0x37:
        value = value * 8 + u64(field[index] - 0x30)
        index += 1
    if index < size and field[index] != 32 and field[index] != 0:
        return BAD_NUMBER
    return i64(value)


@native
def binary(field: ptr[u8], size: u64) -> i64:
    """GNU's base 256, two's complement, of which 63 bits must suffice."""
    negative = field[0] == 0xFF
    if field[0] != 0x80 and not negative:
        return BAD_NUMBER
    fillings: u8 = 0xFF if negative else 0
    value: u64 = 0xFFFF_FFFF_FFFF_FFFF if negative else 0
    for index in range(1, size):
        if size - index > 8 and field[index] != fillings:
            return BAD_NUMBER
        value = (value << 8) | u64(field[index])
    if (i64(value) < 0) != negative:
        return BAD_NUMBER
    return i64(value)


@native
def text_length(field: ptr[u8], size: u64) -> u64:
    """Bytes of a field before its first NUL."""
    index: u64 = 0
    while index < size and field[index] != 0:
        index += 1
    return index


@native
def raw_name(block: ptr[u8], to: ptr[u8]) -> u64:
    """The entry's name as the header has it, prefix included, closed with a NUL; its length. `to` has room for 260 bytes."""
    at: u64 = 0
    posix = block[MAGIC] == 0x75 and block[MAGIC + 4] == 0x72 and block[MAGIC + 5] == 0
    if posix and block[PREFIX] != 0:
        star = block[508] == 0x74 and block[509] == 0x61 and block[510] == 0x72 and block[511] == 0  # star keeps times in the last 24 bytes
        limit: u64 = 131 if star else 155
        while at < limit and block[PREFIX + at] != 0:
            to[at] = block[PREFIX + at]
            at += 1
        to[at] = SLASH
        at += 1
    index: u64 = 0
    while index < 100 and block[index] != 0:
        to[at] = block[index]
        at += 1
        index += 1
    to[at] = 0
    return at


@native
def clean(path: ptr[u8], size: u64) -> i64:
    """Write a relative path plainly, in place: no "." and no empty components. Its length (0: the root itself), closed with a NUL.

    Minus the rule broken where the path is empty, absolute, climbs with "..", has a NUL in it, or is too long.
    """
    if size >= PATH_ROOM:
        return -TOO_LONG
    if size == 0:
        return -EMPTY_NAME
    if path[0] == SLASH:
        return -ABSOLUTE
    at: u64 = 0
    index: u64 = 0
    while index < size:
        start = index
        while index < size and path[index] != SLASH:
            if path[index] == 0:
                return -NUL_NAME
            index += 1
        count = index - start
        index += 1
        if count == 2 and path[start] == DOT and path[start + 1] == DOT:
            return -CLIMBS
        if count == 0 or (count == 1 and path[start] == DOT):
            continue
        if at > 0:
            path[at] = SLASH
            at += 1
        for step in range(count):
            path[at + step] = path[start + step]
        at += count
    path[at] = 0
    return i64(at)


@native
def last_component(path: ptr[u8], size: u64) -> u64:
    """Where the last component starts."""
    at = size
    while at > 0 and path[at - 1] != SLASH:
        at -= 1
    return at


