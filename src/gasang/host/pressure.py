"""How short of memory this host is (Linux: /proc/meminfo, and /proc/pressure/memory where the kernel tells it)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_STALLED = re.compile(r"^some avg10=([0-9.]+)", re.MULTILINE)
_FIELD = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB", re.MULTILINE)


class HostMemory(NamedTuple):
    """Bytes there are, and bytes to be had without swapping; `stalled`: percent of the last ten seconds in which somebody waited."""

    total: int
    available: int
    stalled: float


def parse(meminfo: str, pressure: str) -> HostMemory | None:
    """What the two files tell; None where the first does not, no stalls where the second does not."""
    fields = {name: int(number) * 1024 for name, number in _FIELD.findall(meminfo)}
    if len(fields) < 2:
        return None
    stalled = _STALLED.search(pressure)
    return HostMemory(fields["MemTotal"], fields["MemAvailable"], float(stalled[1]) if stalled else 0.0)


def host_memory(proc: Path = Path("/proc")) -> HostMemory | None:
    """The memory of this host; None where it does not tell."""
    return parse(_text(proc / "meminfo"), _text(proc / "pressure" / "memory"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
