"""Entries of the Boot Loader Specification (uapi-group.org, version 1: type #1), and systemd-boot's loader.conf."""

from __future__ import annotations

import fnmatch
import re
from typing import Final

from gasang.storage.bootable.entry import Entry

_PIECE: Final = re.compile(r"(\d+)")


def parse(text: str, variables: dict[str, str]) -> tuple[Entry, tuple[object, ...]] | None:
    """An entry, and by what it is sorted, the newest highest; None for one that starts no Linux kernel.

    `variables` are those of GRUB's that its options name ($kernelopts).
    """
    single: dict[str, str] = {}
    initrds: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        name, _, value = line.strip().replace("\t", " ").partition(" ")
        value = value.strip()
        if name == "initrd":
            initrds += value.split()[:16]
        elif name == "options":
            options.append(value)
        elif name and not name.startswith("#"):
            single.setdefault(name, value)
    if not single.get("linux"):
        return None
    given = re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], ""), " ".join(options))
    initrds = [each for each in initrds if "$" not in each]
    entry = Entry(single.get("title", ""), single["linux"], tuple(initrds), given)
    return entry, newest(single.get("version") or single["linux"])


def newest(version: str) -> tuple[object, ...]:
    """A version as something to be compared: numbers as numbers; what comes before a release (~, rc) is older than it."""
    parts: list[tuple[int, int, str]] = []
    for piece in _PIECE.split(version):
        if piece.isdecimal():
            parts.append((1, int(piece[:18]), ""))
        elif piece:
            parts.append((-1 if piece.startswith(("~", "-rc")) else 0, 0, piece))
    return (*parts, (0, 0, ""))


def default(loader: str, names: list[str]) -> str:
    """Which of the files, the newest first, loader.conf has as its default; the first where it names none."""
    for line in loader.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "default":
            found = [name for name in names if fnmatch.fnmatchcase(name, words[1]) or name.removesuffix(".conf") == words[1]]
            return found[0] if found else names[0]
    return names[0]
