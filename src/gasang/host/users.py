"""What this process may do with users and groups: which numbers its user namespace has (user_namespaces(7)).

The answers are kept, for a process does not change its namespace but in one place, which calls `forget`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

KINDS: Final = ("uid", "gid")
_EVERY: Final = (1 << 32) - 1


@cache
def numbers(kind: str) -> tuple[range, ...]:
    """The numbers of users ("uid") or groups ("gid") that there are; all of them where the kernel knows no user namespaces."""
    try:
        with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
            lines = [[int(word) for word in line.split()] for line in file]
    except FileNotFoundError:
        return (range(_EVERY),)
    return tuple(range(first, first + count) for first, _, count in lines)


def has(kind: str, number: int) -> bool:
    """Whether a user or a group of this number can own anything here."""
    return any(number in known for known in numbers(kind))


def are_the_hosts() -> bool:
    """Whether the users are the host's own: root here is root there."""
    return all(numbers(kind) == (range(_EVERY),) for kind in KINDS)


def is_alone() -> bool:
    """Whether there is but one user: nothing can be given to another."""
    return sum(map(len, numbers("uid"))) == 1


@cache
def may_set_groups() -> bool:
    """Whether the kernel lets this namespace's root choose groups."""
    try:
        with open("/proc/self/setgroups", encoding="ascii") as file:
            return file.read().strip() != "deny"
    except FileNotFoundError:
        return True


def forget() -> None:
    """The namespace is another now."""
    numbers.cache_clear()
    may_set_groups.cache_clear()
