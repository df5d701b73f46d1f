"""The HOME of a user by the container's own /etc/passwd, looked up from within, when the environment names none.

The file is the image's: it is read by the user himself, a bounded part of it, without waiting for anything it may be instead of a file.
"""

from __future__ import annotations

import os
from typing import Final

from gasang.host.mounts import AT_FDCWD
from gasang.host.syscalls import native_table
from gasang.native import i64, native, ptr, syscall, u8, u64

_NR: Final = native_table()
NR_OPENAT: Final = _NR["openat"]
NR_READ: Final = _NR["read"]
NR_CLOSE: Final = _NR["close"]
CWD: Final = AT_FDCWD & (1 << 64) - 1
READ_NOW: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
COLON: Final = 58
NEWLINE: Final = 10
ZERO: Final = 48
UID_FIELD: Final = 2
HOME_FIELD: Final = 5
LONGEST_HOME: Final = 255
NO_NUMBER: Final = (1 << 64) - 1


@native
def number_in(text: ptr[u8], start: u64, end: u64) -> u64:
    """A decimal number between two places; NO_NUMBER if it is none."""
    if end <= start or end - start > 10:
        return NO_NUMBER
    value: u64 = 0
    for at in range(start, end):
        if text[at] < ZERO or text[at] > ZERO + 9:
            return NO_NUMBER
        value = value * 10 + u64(text[at] - ZERO)
    return value


@native
def home_in(text: ptr[u8], length: u64, uid: u64, to: ptr[u8]) -> u64:
    """The home of the first line (passwd(5)) with this uid, ended by NUL, at `to`; its length, 0 if there is none."""
    field: u64 = 0
    start: u64 = 0
    matches: u64 = 0
    for at in range(length):
        if text[at] != COLON and text[at] != NEWLINE:
            continue
        if field == UID_FIELD and number_in(text, start, at) == uid:
            matches = 1
        if field == HOME_FIELD and matches != 0 and at > start and at - start <= LONGEST_HOME:
            for index in range(at - start):
                to[index] = text[start + index]
            to[at - start] = 0
            return at - start
        field += 1
        if text[at] == NEWLINE:
            field = 0
            matches = 0
        start = at + 1
    return 0


@native
def find_home(path: u64, uid: u64, to: ptr[u8], scratch: ptr[u8], size: u64) -> i64:
    """Look the home up in the file at `path`; what is at `to` stays where it names none."""
    descriptor = syscall(NR_OPENAT, CWD, path, READ_NOW, 0)
    if descriptor < 0:
        return 0
    length = syscall(NR_READ, u64(descriptor), u64(scratch), size)
    syscall(NR_CLOSE, u64(descriptor))
    if length > 0:
        home_in(scratch, u64(length), uid, to)
    return 0
