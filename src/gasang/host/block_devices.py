"""Who uses a block device of the host: mounts, swap, and what is stacked on it (Linux: Documentation/ABI/stable/sysfs-block)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_SYSTEM: Final = Path("/sys/dev/block")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_SWAPS: Final = Path("/proc/swaps")


def is_block_device(path: Path) -> bool:
    """Whether there is a block device at a path."""
    try:
        return stat.S_ISBLK(path.stat().st_mode)
    except OSError:
        return False


def users(path: Path) -> list[str]:
    """Who writes to a device or to a partition of it, a few words each. Raises OSError."""
    own = _number(path)
    entry = _SYSTEM / own
    numbers = {own, *(_read(each.with_name("dev")) for each in entry.glob("*/partition"))}
    found = []
    for line in _MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
        head, _, tail = line.partition(" - ")
        fields, (_, source, options) = head.split(), tail.split()
        # A file system on several devices has a number of its own: then its source tells. The last options are the whole file system's.
        if (fields[2] in numbers or _number_or_none(source) in numbers) and "rw" in options.split(","):
            found.append(f"it is mounted at {fields[4]}")
    swaps = _SWAPS.read_text().splitlines()[1:]
    found += ["it is swapped to" for line in swaps if _number_or_none(line.split()[0]) in numbers]
    for number in sorted(numbers):
        found += [f"{holder.name} is on it" for holder in sorted((_SYSTEM / number / "holders").glob("*"))]
    return found


def _number(path: Path) -> str:
    device = path.stat().st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def _number_or_none(name: str) -> str | None:
    path = Path(name)
    return _number(path) if name.startswith("/") and is_block_device(path) else None


def _read(path: Path) -> str:
    return path.read_text().strip()
