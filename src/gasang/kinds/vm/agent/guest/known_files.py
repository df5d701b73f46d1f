"""Small files of the guest's that are read ahead, and read anew where they are another when they are needed."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    AT_FDCWD,
    CLOCK_REALTIME,
    EINTR,
    ENOMEM,
    NANOSECONDS,
    O_RDONLY,
    Given,
    clock,
    close,
    map_memory,
    open_path,
    read,
    text,
)
from gasang.native import array, boolean, cast, i64, length, native, null, ptr, ref, struct, syscall, u8, u32, u64

MOST_FILE: Final = 1 << 20
"""Bytes of such a file that are looked at."""
_BASIC_FIELDS: Final = 0x7FF  # STATX_BASIC_STATS
_OLD: Final = NANOSECONDS
"""A file that was changed later than so long ago may be changed again without another time of change (a kernel's clock ticks)."""


@struct
class Stamp:
    """By what a file is seen to be the same: device, inode, size, and when it was changed."""

    words: array[u64] = length(6)


@struct
class File:
    """A file's content; `known` is whether `stamp` is of before it was read."""

    content: ptr[u8]
    size: u64
    stamp: Stamp
    known: u32


@native
def look(g: ptr[Given], path: u64, found: ptr[u64], stamp: ptr[Stamp]) -> i64:
    """A file's stamp; 0 or an error. `found` is room for a struct statx."""
    result = syscall(g.calls.statx, u64(i64(AT_FDCWD)), u64(text(g, path)), 0, _BASIC_FIELDS, u64(found))
    if result >= 0:
        stamp.words[0] = found[17]  # stx_dev_major and stx_dev_minor
        stamp.words[1] = found[4]  # stx_ino
        stamp.words[2] = found[5]  # stx_size
        stamp.words[3] = found[12]  # stx_ctime: seconds
        stamp.words[4] = found[13] & 0xFFFF_FFFF  # nanoseconds
        stamp.words[5] = found[14]  # stx_mtime
    return result


@native
def is_same(g: ptr[Given], path: u64, found: ptr[u64], file: ptr[File]) -> boolean:
    """Whether a file that is known is still what was read."""
    present = cast(ptr[Stamp], found + 20)  # behind what is looked at
    if file.known == 0 or look(g, path, found, present) < 0:
        return False
    for i in range(u64(6)):
        if present.words[i] != file.stamp.words[i]:
            return False
    return True


@native
def know(g: ptr[Given], path: u64, found: ptr[u64], file: ptr[File]) -> None:
    """Take a file's stamp before it is read: what is changed later has another."""
    file.known = 0
    if look(g, path, found, ref(file.stamp)) >= 0:
        now = clock(g, CLOCK_REALTIME, found)
        changed = file.stamp.words[3] * NANOSECONDS + file.stamp.words[4]
        file.known = u32(changed + _OLD < now)


@native
def load(g: ptr[Given], path: u64, file: ptr[File]) -> i64:
    """Read a file, of which there may be none; 0 or an error."""
    file.size = 0
    if file.content == null:
        room = map_memory(g, MOST_FILE)
        if room == 0:
            return ENOMEM
        file.content = cast(ptr[u8], room)
    fd = open_path(g, text(g, path), O_RDONLY)
    if fd < 0:
        return 0
    while file.size < MOST_FILE:
        n = read(g, fd, file.content + file.size, MOST_FILE - file.size)
        if n == EINTR:
            continue
        if n <= 0:
            break
        file.size += u64(n)
    close(g, fd)
    return 0
