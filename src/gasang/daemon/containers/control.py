"""What control groups do to containers that run, and what they count."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Final

from gasang.daemon.containers import oci
from gasang.daemon.containers.record import Container
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.hierarchies import Hierarchies, find_hierarchies
from gasang.kinds.container.cgroups.stats import Stats, read_stats
from gasang.kinds.container.config.node import parse
from gasang.kinds.container.config.resources import BlockIo, Resources, read_resources

PARENT: Final = "/gasang"
WEIGHT: Final = 100
"""One that any scheduler takes."""


class GroupControl:
    """The control groups of a daemon's containers."""

    @cached_property
    def hierarchies(self) -> Hierarchies:
        """Those of this host; they do not change while it runs."""
        return find_hierarchies()

    @property
    def version(self) -> str:
        """Which: "2" where all controllers are in the unified hierarchy, else "1"."""
        return "2" if self.hierarchies.unified_only else "1"

    @cached_property
    def weighs_blocks(self) -> bool:
        """Whether this host keeps weights of block devices, which it does not tell but by trying. Raises GasangError."""
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
        """Stop all its processes, or let them go on. Raises TimedOutError."""
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
        return self.group(container).processes()

    def stats(self, container: Container) -> Stats:
        """What it has used."""
        return read_stats(self.group(container))

    def remove(self, container: Container) -> None:
        """Remove its groups; what still runs there ends."""
        self.group(container).delete()
