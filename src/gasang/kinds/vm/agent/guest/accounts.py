"""Users and groups of the guest, read from its /etc/passwd and /etc/group (passwd(5), group(5)) in the child that becomes one of them.

A user is named as docker's `--user`: NAME, UID, NAME:GROUP … A number needs no entry. Without a group it is the user's own, and all groups
that list the user's name are taken besides.

A process that waits for its command (spare.py) reads both files ahead, and only looks whether they are still the same when it is told.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    EMPTY,
    ENOENT,
    GROUP,
    PASSWD,
    ZERO,
    Given,
    text,
)
from gasang.kinds.vm.agent.guest.known_files import File, is_same, know, load
from gasang.native import array, boolean, i64, length, native, ptr, ref, struct, u8, u32, u64

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
class Accounts:
    """What is known of users and groups, zeroed at first; `is_first` is whether the account is that of user 0."""

    account: Account
    users: File
    groups: File
    is_first: u32
    found: array[u64] = length(32)  # struct statx


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


@native
def refresh(g: ptr[Given], accounts: ptr[Accounts]) -> i64:
    """Have both files as they are now; 0 or an error."""
    found = ref(accounts.found)
    if not is_same(g, PASSWD, found, ref(accounts.users)):
        accounts.is_first = 0
        result = load(g, PASSWD, ref(accounts.users))
        if result < 0:
            return result
    if not is_same(g, GROUP, found, ref(accounts.groups)):
        accounts.is_first = 0
        return load(g, GROUP, ref(accounts.groups))
    return 0


@native
def find_group(file: ptr[File], account: ptr[Account], group: ptr[u8]) -> i64:
    """Fill in the group of that name or number; 0 or an error."""
    size: u64 = 0
    while group[size] != 0:
        size += 1
    gid = number_of(group, size)
    line = find(file, group, size, gid)
    if line != NONE:
        gid = id_at(file, line, 2)
    account.gid = gid
    return ENOENT if gid == NONE else 0


@native(inline=False)
def find_account(g: ptr[Given], accounts: ptr[Accounts], wanted: ptr[u8]) -> i64:
    """Whom `wanted` means (without a name it is user 0); 0 or an error."""
    size: u64 = 0
    while wanted[size] != 0 and wanted[size] != _COLON:
        size += 1
    account = ref(accounts.account)
    result = refresh(g, accounts)
    if result < 0:
        return result
    if wanted[0] == 0 and accounts.is_first != 0:
        return 0
    account.group_count = 0
    account.name_size = 0
    account.home_size = 0
    account.gid = 0
    if size == 0:
        zero = text(g, ZERO)
        result = find_user(ref(accounts.users), account, zero, 1)
    else:
        result = find_user(ref(accounts.users), account, wanted, size)
    if result < 0:
        return result
    if wanted[size] != 0:
        return find_group(ref(accounts.groups), account, wanted + size + 1)
    take_groups(ref(accounts.groups), account)
    return 0


@native(inline=False)
def know_accounts(g: ptr[Given], accounts: ptr[Accounts]) -> None:
    """Find user 0 ahead, and note of what files."""
    know(g, PASSWD, ref(accounts.found), ref(accounts.users))
    know(g, GROUP, ref(accounts.found), ref(accounts.groups))
    users = accounts.users.known
    groups = accounts.groups.known
    accounts.users.known = 0  # nothing was read
    accounts.groups.known = 0
    if find_account(g, accounts, text(g, EMPTY)) >= 0:
        accounts.users.known = users
        accounts.groups.known = groups
        accounts.is_first = users & groups
