"""``--mount``: ``type=bind,source=…,target=…`` to a Mount of the Docker Engine API. Pure but for paths from here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gasang.cli.containers import values as convert
from gasang.cli.options import plain_text
from gasang.core.config import parse_boolean
from gasang.core.errors import UsageError

KINDS: Final = ("volume", "bind", "tmpfs")
_EXAMPLE: Final = "type=bind,source=./data,target=/data,readonly"


def _mode(text: str, subject: str) -> int:
    if not text or any(sign not in "01234567" for sign in text) or len(text) > 5:
        raise UsageError(subject, f"{text!r} are no permissions", "write them as in 1770")
    return int(text, 8)


class Field(NamedTuple):
    """A word of a mount: which kinds have it, and where in the API's document its value goes."""

    kinds: tuple[str, ...]
    path: tuple[str, ...]
    read: Callable[[str, str], Any]


_ALL: Final = KINDS
FIELDS: Final[dict[str, Field]] = {
    "source": Field(("volume", "bind"), ("Source",), plain_text),
    "target": Field(_ALL, ("Target",), plain_text),
    "readonly": Field(_ALL, ("ReadOnly",), parse_boolean),
    "bind-propagation": Field(("bind",), ("BindOptions", "Propagation"), plain_text),
    "bind-nonrecursive": Field(("bind",), ("BindOptions", "NonRecursive"), parse_boolean),
    "bind-create-src": Field(("bind",), ("BindOptions", "CreateMountpoint"), parse_boolean),
    "volume-subpath": Field(("volume",), ("VolumeOptions", "Subpath"), plain_text),
    "volume-nocopy": Field(("volume",), ("VolumeOptions", "NoCopy"), parse_boolean),
    "tmpfs-size": Field(("tmpfs",), ("TmpfsOptions", "SizeBytes"), convert.size),
    "tmpfs-mode": Field(("tmpfs",), ("TmpfsOptions", "Mode"), _mode),
}
"""What a mount may say, besides its type."""
_OTHER_NAMES: Final = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def mount(text: str, subject: str) -> dict[str, Any]:
    """A Mount. Raises UsageError about the word at fault."""
    words = dict(_words(plain_text(text, subject), subject))
    kind = words.pop("type", "volume")
    if kind not in KINDS:
        raise UsageError(f"{subject} type={kind}", "there is no such type", f"choose one of {', '.join(KINDS)}")
    if "target" not in words:
        raise UsageError(f"{subject} {text!r}", "its target is missing", f"write it as in {subject} {_EXAMPLE}")
    made: dict[str, Any] = {"Type": kind}
    for name, word in words.items():
        field = FIELDS[name]
        if kind not in field.kinds:
            raise UsageError(f"{subject} {name}", f"a {kind} has none", f"it goes with type={field.kinds[0]}")
        *groups, last = field.path
        place = made
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = field.read(word, f"{subject} {name}")
    if kind == "bind" and made.get("Source", "").startswith("."):
        made["Source"] = os.path.abspath(made["Source"])
    return made


def _words(text: str, subject: str) -> list[tuple[str, str]]:
    """The words of a mount by their full names; a word alone is true."""
    found = []
    for part in text.split(","):
        name, equals, word = part.partition("=")
        name = _OTHER_NAMES.get(name, name)
        if name != "type" and name not in FIELDS:
            raise UsageError(f"{subject} {part!r}", "a mount has none of this name", f"use type, {', '.join(FIELDS)}")
        found.append((name, word if equals else "true"))
    return found
