"""What a machine's process uses of its host, from /proc (proc_pid_smaps_rollup(5)). Pure but for the reading."""

from __future__ import annotations

import os
from typing import Final

_KINDS: Final = {
    "resident": ("Rss",),
    "shared": ("Shared_Clean", "Shared_Dirty"),
    "private": ("Private_Clean", "Private_Dirty"),
    "swapped": ("Swap",),
}


def memory_of(text: str) -> dict[str, int]:
    """Bytes that are resident, shared with other processes, its own, and on swap; of the lines of smaps_rollup."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            found[name] = int(words[0]) << 10
    return {kind: sum(found.get(name, 0) for name in names) for kind, names in _KINDS.items()}


def figures() -> dict[str, int]:
    """The memory of this process, and the nanoseconds of processor time it has had. Raises OSError."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        memory = memory_of(file.read())
    times = os.times()
    return {**memory, "processor": round((times.user + times.system) * 1_000_000_000)}
