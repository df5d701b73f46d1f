"""How much more memory a process may take, before the host or a control group above it has none left (cgroups(7))."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gasang.host.pressure import host_memory
from gasang.kinds.container.cgroups.group import read_counters, read_text
from gasang.kinds.container.cgroups.hierarchies import Hierarchy, read_hierarchies


class Headroom(NamedTuple):
    """Bytes that can still be had, and what sets the limit: "the host", or a control group."""

    bytes: int
    where: str


class _Names(NamedTuple):
    limit: str
    usage: str
    reclaimable: str
    """Of memory.stat: what a file's page, used long ago, gives back at once."""


_UNIFIED: Final = _Names("memory.max", "memory.current", "inactive_file")  # Documentation/admin-guide/cgroup-v2.rst
_LEGACY: Final = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")  # cgroup-v1/memory.rst


_NO_LIMIT: Final = 1 << 60
"""More than any host has: version 1 says so where there is none."""


def headroom(process: int, proc: Path = Path("/proc")) -> Headroom | None:
    """A process's; None where nothing tells, or it has ended."""
    found = [Headroom(host.available, "the host")] if (host := host_memory(proc)) is not None else []
    with suppress(OSError):
        mounts, groups = read_text(f"{proc}/self/mountinfo"), read_text(f"{proc}/{process}/cgroup")
        hierarchies = read_hierarchies(mounts, groups)
        if hierarchies.unified is not None:
            found += _above(hierarchies.unified, _UNIFIED)
        if (legacy := hierarchies.holding("memory")) is not None:
            found += _above(legacy, _LEGACY)
    return min(found, default=None)


def _above(hierarchy: Hierarchy, names: _Names) -> Iterator[Headroom]:
    """That of a group, and of each above it."""
    own = Path(hierarchy.own)
    for group in (own, *own.parents):
        folder = Path(hierarchy.folder) / str(group).lstrip("/")
        with suppress(OSError, ValueError):  # the first group of version 2 has no limit; another says "max"
            limit = int(read_text(f"{folder}/{names.limit}"))
            if limit > _NO_LIMIT:
                continue
            left = limit - int(read_text(f"{folder}/{names.usage}"))
            left += read_counters(f"{folder}/memory.stat").get(names.reclaimable, 0)
            yield Headroom(max(0, left), f"control group {group}")
