"""Users of containers as other users of the host: what `userns-remap` of daemon.json says, and the ranges of /etc/subuid and /etc/subgid.

The words are Docker's: "default", USER, USER:GROUP, UID, UID:GID. "default" means the ranges of `dockremap`, as with Docker; nothing is
written to the host's files, so they must be there. Formats: subuid(5), subgid(5).
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import UsageError
from gasang.kinds.container.config.linux import IdMapping

DEFAULT: Final = "dockremap"
SUBUID: Final = Path("/etc/subuid")
SUBGID: Final = Path("/etc/subgid")
_EXAMPLE: Final = "231072:65536"
_HIGHEST: Final = (1 << 32) - 2
_LARGEST: Final = 1 << 20
_MOST: Final = 340
"""Lines that a mapping may have (user_namespaces(7))."""


@dataclass(frozen=True)
class Remap:
    """How the users and groups of containers are mapped."""

    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]


def read_remap(word: str, subuid: Path = SUBUID, subgid: Path = SUBGID) -> Remap | None:
    """The mapping that a setting names; None for "". Raises UsageError for a user that is not there or has no range."""
    if not word:
        return None
    user, colon, group = word.partition(":")
    names = _names(DEFAULT if user == "default" else user, "user", _user)
    groups = _names(group, "group", _group) if colon else names
    return Remap(_ranges(names, subuid), _ranges(groups, subgid))


def _user(word: str) -> tuple[str, int]:
    found = pwd.getpwuid(int(word)) if word.isdecimal() else pwd.getpwnam(word)
    return found.pw_name, found.pw_uid


def _group(word: str) -> tuple[str, int]:
    found = grp.getgrgid(int(word)) if word.isdecimal() else grp.getgrnam(word)
    return found.gr_name, found.gr_gid


def _names(word: str, kind: str, look_up: Callable[[str], tuple[str, int]]) -> tuple[str, ...]:
    """The names by which a range may be listed, the name before the number."""
    try:
        name, number = look_up(word)
    except (KeyError, OverflowError):
        if word != DEFAULT:
            raise UsageError(f"userns-remap {kind} {word[:40]!r}", "the host has none of this name", "correct it in daemon.json") from None
        return (DEFAULT,)
    return name, str(number)


def _ranges(names: tuple[str, ...], path: Path) -> tuple[IdMapping, ...]:
    """What the file gives one of these names. Raises UsageError also where that is nothing."""
    if not path.exists():
        raise UsageError(f"file {path}", "it cannot be read (there is none)", f"it needs a line {names[0]}:{_EXAMPLE}")
    made = listed(names, path)
    if not made:
        raise UsageError(f"userns-remap {names[0]}", f"{path} gives it no numbers", f"add a line {names[0]}:{_EXAMPLE}")
    return made


def listed(names: tuple[str, ...], path: Path) -> tuple[IdMapping, ...]:
    """What a file of ranges gives one of these names, one range after another from 0 on; no file, no ranges. Raises UsageError."""
    try:
        text = path.read_bytes()[:_LARGEST].decode(errors="replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f"file {path}", f"it cannot be read ({error.strerror})", "let everybody read it") from error
    made: list[IdMapping] = []
    inside = 0
    for line in text.splitlines():
        words = line.strip().split(":")
        if words[0] not in names or line.lstrip().startswith("#"):
            continue
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()) or not 0 < int(words[2]) <= _HIGHEST - int(words[1]):
            raise UsageError(f"file {path}", f"{line[:60]!r} is no range of numbers", f"write it like {names[0]}:{_EXAMPLE}")
        made.append(IdMapping(inside, int(words[1]), int(words[2])))
        inside += int(words[2])
    return tuple(made[:_MOST])
