"""Which hierarchies of control groups the host has mounted, and where in each of them this process is.

Pure functions of /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7)), and one that reads them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from gasang.core.errors import UnsupportedError

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: its controllers (none for the unified one and named ones), its folder, and our own group in it."""

    name: str
    controllers: tuple[str, ...]
    folder: str
    own: str

    @property
    def unified(self) -> bool:
        """Whether this is the one of version 2."""
        return self.name == ""


@dataclass(frozen=True)
class Hierarchies:
    """All of them. `unified_only` is a host of version 2; `unified` may also be there beside others."""

    legacy: tuple[Hierarchy, ...]
    unified: Hierarchy | None

    @property
    def unified_only(self) -> bool:
        """Whether every controller is in the unified hierarchy."""
        return not self.legacy and self.unified is not None

    def holding(self, controller: str) -> Hierarchy | None:
        """The legacy hierarchy with a controller."""
        return next((hierarchy for hierarchy in self.legacy if controller in hierarchy.controllers), None)


def read_memberships(text: str) -> dict[str, str]:
    """Hierarchy name → our group, from the text of /proc/self/cgroup."""
    found = {}
    for line in text.splitlines():
        _, name, path = line.split(":", 2)
        found[name.removeprefix("name=")] = path
    return found


def read_hierarchies(mountinfo: str, memberships: str) -> Hierarchies:
    """The hierarchies that these two texts describe."""
    groups = read_memberships(memberships)
    legacy: dict[str, Hierarchy] = {}
    unified: Hierarchy | None = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if not separator or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        root, folder = unescape(fields[3]), unescape(fields[4])
        if kinds[0] == "cgroup2":
            unified = unified or Hierarchy("", (), folder, _within(root, groups.get("", "/")))
            continue
        for name, path in groups.items():
            controllers = tuple(name.split(","))
            options = kinds[2].split(",")
            if name and name not in legacy and (all(c in options for c in controllers) or f"name={name}" in options):
                legacy[name] = Hierarchy(name, () if f"name={name}" in options else controllers, folder, _within(root, path))
    return Hierarchies(tuple(legacy.values()), unified)


def unescape(text: str) -> str:
    """Names in mountinfo have spaces and such as octal numbers."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def _within(root: str, path: str) -> str:
    """A group's path below what is mounted, which is "/" where the mount shows only another part."""
    if root == "/" or not (path == root or path.startswith(f"{root}/")):
        return path if root == "/" else "/"
    return path[len(root) :] or "/"


def find_hierarchies() -> Hierarchies:
    """Those of this host. Raises UnsupportedError if there are none."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mountinfo = file.read()
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        found = read_hierarchies(mountinfo, file.read())
    if not found.legacy and found.unified is None:
        raise UnsupportedError("control groups", "this host has none mounted", "mount -t cgroup2 none /sys/fs/cgroup")
    return found


def may_make_groups() -> bool:
    """Whether this process may make groups where they begin, as root of the host may; without any there are none to make."""
    found = find_hierarchies()
    every = [*found.legacy, *([found.unified] if found.unified else [])]
    return all(os.access(hierarchy.folder, os.W_OK) for hierarchy in every)
