"""Users and groups of the guest, read from its /etc/passwd and /etc/group (passwd(5), group(5)) in the child that becomes one of them.

A user is named as docker's `--user`: NAME, UID, NAME:GROUP … A number needs no entry. Without a group it is the user's own, and all groups
that list the user's name are taken besides.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    EINTR,
    ENOENT,
    ENOMEM,
    GROUP,
    O_RDONLY,
    PASSWD,
    ZERO,
    Given,
    close,
    map_memory,
    open_path,
    read,
    text,
)
from gasang.native import array, boolean, cast, i64, length, native, ptr, struct, u8, u32, u64

MOST_FILE: Final = 1 << 20
"""Bytes of such a file that are looked at."""
MOST_GROUPS: Final = 64
NONE: Final = (1 << 64) - 1
_COLON, _NEWLINE, _COMMA, _ZERO = 0x3A, 0x0A, 0x2C, 0x30


@struct
class Account:
    """Whom a command runs as. Names are in the text that was looked at: address and length."""

    uid: u64
    gid: u64
    name: ptr[u8]
    name_size: u64
    home: ptr[u8]
    home_size: u64
    group_count: u64
    groups: array[u32] = length(MOST_GROUPS)


@struct
class File:
    """A file's content."""

    content: ptr[u8]
    size: u64


@native
def load(g: ptr[Given], path: u64, file: ptr[File]) -> i64:
    """Read a file, of which there may be none; 0 or an error."""
    file.size = 0
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


@native
def line_end(file: ptr[File], start: u64) -> u64:
    """Where the line that begins at `start` ends."""
    at = start
    while at < file.size and file.content[at] != _NEWLINE:
        at += 1
    return at


@native
def field_start(file: ptr[File], start: u64, end: u64, number: u64) -> u64:
    """Where a line's field begins, counted from 0; at the end where it has fewer."""
    at = start
    left = number
    while left != 0 and at < end:
        if file.content[at] == _COLON:
            left -= 1
        at += 1
    return at


@native
def field_size(file: ptr[File], start: u64, end: u64) -> u64:
    """Characters of the field that begins at `start`."""
    at = start
    while at < end and file.content[at] != _COLON:
        at += 1
    return at - start


@native
def same(one: ptr[u8], one_size: u64, other: ptr[u8], other_size: u64) -> boolean:
    """Whether two texts are the same."""
    if one_size != other_size:
        return False
    for i in range(one_size):
        if one[i] != other[i]:
            return False
    return True


@native
def number_of(word: ptr[u8], size: u64) -> u64:
    """A decimal number as ids are; NONE for anything else."""
    if size == 0 or size > 10:
        return NONE
    value: u64 = 0
    for i in range(size):
        digit = u64(word[i]) - _ZERO
        if digit > 9:
            return NONE
        value = value * 10 + digit
    return value if value < 0xFFFF_FFFF else NONE


@native
def find(file: ptr[File], word: ptr[u8], size: u64, number: u64) -> u64:
    """Where the line begins whose name is the word or, where `number` is one, whose id is that; NONE if there is none."""
    at: u64 = 0
    found: u64 = NONE
    while at < file.size and found == NONE:
        end = line_end(file, at)
        if same(file.content + at, field_size(file, at, end), word, size):
            return at
        at = end + 1
    at = 0
    while at < file.size and number != NONE:
        end = line_end(file, at)
        start = field_start(file, at, end, 2)
        if number_of(file.content + start, field_size(file, start, end)) == number:
            return at
        at = end + 1
    return NONE


@native
def has_member(file: ptr[File], start: u64, end: u64, name: ptr[u8], size: u64) -> boolean:
    """Whether a line of groups lists a name."""
    at = field_start(file, start, end, 3)
    while at < end:
        first = at
        while at < end and file.content[at] != _COMMA:
            at += 1
        if same(file.content + first, at - first, name, size):
            return True
        at += 1
    return False


@native
def id_at(file: ptr[File], line: u64, field: u64) -> u64:
    """The number in a line's field; NONE if it is none."""
    end = line_end(file, line)
    start = field_start(file, line, end, field)
    return number_of(file.content + start, field_size(file, start, end))


@native
def take_groups(file: ptr[File], account: ptr[Account]) -> None:
    """The groups that list the account's name."""
    at: u64 = 0
    while at < file.size and account.group_count < MOST_GROUPS and account.name_size != 0:
        end = line_end(file, at)
        gid = id_at(file, at, 2)
        if gid != NONE and has_member(file, at, end, account.name, account.name_size):
            account.groups[account.group_count] = u32(gid)
            account.group_count += 1
        at = end + 1


@native
def find_user(file: ptr[File], account: ptr[Account], word: ptr[u8], size: u64) -> i64:
    """Fill in the user; 0 or an error."""
    account.uid = number_of(word, size)
    line = find(file, word, size, account.uid)
    if line == NONE:
        return ENOENT if account.uid == NONE else 0
    uid = id_at(file, line, 2)
    gid = id_at(file, line, 3)
    if uid == NONE or gid == NONE:
        return ENOENT
    end = line_end(file, line)
    home = field_start(file, line, end, 5)
    account.uid = uid
    account.gid = gid
    account.name = file.content + line
    account.name_size = field_size(file, line, end)
    account.home = file.content + home
    account.home_size = field_size(file, home, end)
    return 0


@native(inline=False)
def find_account(g: ptr[Given], account: ptr[Account], file: ptr[File], wanted: ptr[u8]) -> i64:
    """Whom `wanted` means (without a name it is user 0); 0 or an error. The account is zeroed; `file` is room."""
    size: u64 = 0
    while wanted[size] != 0 and wanted[size] != _COLON:
        size += 1
    result = load(g, PASSWD, file)
    if result < 0:
        return result
    if size == 0:
        zero = text(g, ZERO)
        result = find_user(file, account, zero, 1)
    else:
        result = find_user(file, account, wanted, size)
    if result < 0:
        return result
    result = load(g, GROUP, file)
    if result < 0 or wanted[size] == 0:
        if result == 0:
            take_groups(file, account)
        return result
    group = wanted + size + 1
    group_size: u64 = 0
    while group[group_size] != 0:
        group_size += 1
    gid = number_of(group, group_size)
    line = find(file, group, group_size, gid)
    if line != NONE:
        gid = id_at(file, line, 2)
    account.gid = gid
    return ENOENT if gid == NONE else 0
