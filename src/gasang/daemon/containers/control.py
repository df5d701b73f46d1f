"""What control groups do to containers that run, and what they count."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from gasang.core.errors import UnsupportedError
from gasang.daemon.containers import oci
from gasang.daemon.containers.record import Container
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.hierarchies import Hierarchies, find_hierarchies
from gasang.kinds.container.cgroups.stats import Stats, read_processes, read_stats
from gasang.kinds.container.config.node import parse
from gasang.kinds.container.config.resources import BlockIo, Resources, read_resources

PARENT: Final = "/gasang"
NONE: Final = Hierarchies((), None)
WEIGHT: Final = 100
"""One that any scheduler takes."""


class GroupControl:
    """The control groups of a daemon's containers; none where it is `without`: a user who is not root may make none."""

    def __init__(self, *, without: bool = False) -> None:
        self.without = without

    @cached_property
    def hierarchies(self) -> Hierarchies:
        """Those of this host; they do not change while it runs."""
        return NONE if self.without else find_hierarchies()

    @property
    def version(self) -> str:
        """Which: "2" where all controllers are in the unified hierarchy, else "1"."""
        return "2" if self.hierarchies.unified_only else "1"

    @cached_property
    def weighs_blocks(self) -> bool:
        """Whether this host keeps weights of block devices, which it does not tell but by trying. Raises GasangError."""
        if self.without:
            return False
        group = Cgroup.at(f"{PARENT}/weight-{os.getpid()}", "probe", self.hierarchies)
        try:
            group.create(Resources(block=BlockIo(weight=WEIGHT)))
            return not group.warnings
        finally:
            group.delete()

    def path(self, container: Container) -> str:
        """A container's group."""
        parent = container.host["CgroupParent"] or PARENT
        return f"{parent.rstrip('/')}/{container.id}"

    def group(self, container: Container) -> Cgroup:
        """Its groups in every hierarchy."""
        return Cgroup.at(self.path(container), container.id, self.hierarchies)

    def freeze(self, container: Container, frozen: bool) -> None:
        """Stop all its processes, or let them go on. Raises TimedOutError, UnsupportedError without control groups."""
        if self.without:
            cause = "it takes control groups to stop all its processes at once, and this daemon has none"
            raise UnsupportedError(container.subject, cause, "docker stop ends it; the daemon of root can pause it")
        group = self.group(container)
        if frozen:
            group.freeze()
        else:
            group.thaw()

    def is_frozen(self, container: Container) -> bool:
        """Whether its processes are stopped."""
        return self.group(container).frozen()

    def update(self, container: Container) -> None:
        """Apply changed limits. Raises UsageError."""
        import json

        document = json.dumps(oci.resources(container.host))
        self.group(container).apply(read_resources(parse(document, "limits")))

    def processes(self, container: Container) -> list[int]:
        """The pids in it, as the host counts."""
        if self.without:
            return relatives(container.status.pid)
        return self.group(container).processes()

    def stats(self, container: Container) -> Stats:
        """What it has used."""
        if self.without:
            return read_processes(relatives(container.status.pid))
        return read_stats(self.group(container))

    def remove(self, container: Container) -> None:
        """Remove its groups; what still runs there ends."""
        self.group(container).delete()


def relatives(pid: int) -> list[int]:
    """A container's processes where no control group counts them.

    Those in its namespace of processes; where that is the host's, its first process and what descends from it.
    """
    if _same(pid, os.getpid()):
        return _descendants(pid)
    return [number for number in _all() if _same(number, pid)]


def _all() -> Sequence[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())


def _same(one: int, other: int) -> bool:
    try:
        return os.path.samefile(f"/proc/{one}/ns/pid", f"/proc/{other}/ns/pid")
    except OSError:  # it has ended, or is none of ours
        return False


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for number in found:
        try:
            with open(f"/proc/{number}/task/{number}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return sorted(found)
