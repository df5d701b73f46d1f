"""Who a container's process is: "user[:group]" looked up in the image's own passwd and group files (passwd(5), group(5))."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gasang.core.errors import UsageError
from gasang.host import users

ID_MAX: Final = (1 << 31) - 1
LINES_MAX: Final = 100_000


@dataclass(frozen=True)
class Identity:
    """Numbers and home of a user."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def _rows(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines()[:LINES_MAX]:
        row = line.strip().split(":")
        if len(row) >= fields and not line.startswith("#"):
            yield row


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= ID_MAX else None


def identify(user: str, passwd: str, group: str, more_groups: list[str]) -> Identity:
    """The identity of `user` ("", "name", "uid", "name:group" …). Raises UsageError for a name the image does not have."""
    name, _, group_name = user.partition(":")
    name = name or "0"
    wanted = _number(name)
    found = None
    for row in _rows(passwd, 4):
        if row[0] == name or (wanted is not None and _number(row[2]) == wanted):
            found = row
            break
    if found is None and wanted is None:
        raise UsageError(f"unable to find user {name[:80]}", "no matching entries in passwd file", "name one of the image, or a number")
    uid = wanted if wanted is not None else _number(found[2] if found else "")
    gid = _number(found[3]) if found else 0
    if uid is None or gid is None:
        raise UsageError(f"user {name[:80]!r}", "the image's passwd file has no numbers for it", "name another, or a number")
    home = found[5] if found and len(found) > 5 and found[5] else "/"
    member = found[0] if found else ""
    groups = tuple(number for row in _rows(group, 4) if member and member in row[3].split(",") and (number := _number(row[2])) is not None)
    if group_name:
        gid, groups = _group(group_name, group), ()
    extra = tuple(_group(entry, group) for entry in more_groups)
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *groups, *extra))), home)


def fitting(identity: Identity) -> Identity:
    """The identity as this daemon can give it: without groups where it may set none.

    Raises UsageError for a user or group whose number it does not have, because it is a user's who is not root.
    """
    groups = identity.groups if users.may_set_groups() else ()
    for kind, number in (("uid", identity.uid), ("gid", identity.gid), *(("gid", group) for group in groups)):
        if not users.has(kind, number):
            name = "user" if kind == "uid" else "group"
            cause = f"this daemon runs without root and has no number for it: {name}s here are {_shown(kind)}"
            hint = f"give yourself more in /etc/sub{kind}, and install newuidmap (Debian's package uidmap)"
            raise UsageError(f"{name} {number}", cause, hint)
    return replace(identity, groups=groups)


def _shown(kind: str) -> str:
    return ", ".join(str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}" for known in users.numbers(kind))


def _group(name: str, group: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for row in _rows(group, 3):
        if row[0] == name and (found := _number(row[2])) is not None:
            return found
    raise UsageError(f"unable to find group {name[:80]}", "no matching entries in group file", "name one of the image, or a number")
