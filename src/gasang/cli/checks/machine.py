"""Checks of the host itself: processors, memory, disk, terminal."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from gasang.cli.checks.finding import Finding, Host, Status
from gasang.cli.terminal import window_size
from gasang.core.units import GIB, KIB, MIB, format_size

_LITTLE_DISK: Final = 4 * GIB
_NO_DISK: Final = 200 * MIB
_LITTLE_MEMORY: Final = 1536 * MIB


def check_python(host: Host) -> Finding:
    """The interpreter is one that gasang is made for."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs from the source tree may have any
        return Finding(Status.FAILED, f"Python {version}", "use Python 3.11 or newer")
    return Finding(Status.OK, f"Python {version} ({sys.implementation.name})")


def check_processors(host: Host) -> Finding:
    """How many vCPUs can run at once."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < 2:
        return Finding(Status.WARNING, "1 processor", "expect a machine to compete with its own devices; give the host a second one")
    return Finding(Status.OK, f"{count} processors")


def _meminfo(text: str) -> dict[str, int]:
    """Linux's /proc/meminfo in bytes, by name."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * KIB
    return found


def check_memory(host: Host) -> Finding:
    """There is room for a machine of the usual size."""
    try:
        available = _meminfo(host.path("/proc/meminfo").read_text()).get("MemAvailable")
    except OSError:
        available = None
    if available is None:
        return Finding(Status.NOTE, "this host does not tell how much memory is free")
    text = f"{format_size(available)} available"
    if available < _LITTLE_MEMORY:
        return Finding(Status.WARNING, text, "close other programs, or run machines with --memory 256M")
    return Finding(Status.OK, text)


def nearest_existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def disk_finding(folder: Path) -> Finding:
    """There is room for images in `folder`, which need not exist yet."""
    free = shutil.disk_usage(nearest_existing(folder)).free
    text = f"{format_size(free)} free at {folder}"
    if free < _NO_DISK:
        return Finding(Status.FAILED, text, "free some space, or set XDG_DATA_HOME to a larger disk")
    if free < _LITTLE_DISK:
        return Finding(Status.WARNING, text, "an image takes 1 to 2 GiB: free some space, or set XDG_DATA_HOME to a larger disk")
    return Finding(Status.OK, text)


def check_terminal(host: Host) -> Finding:
    """A machine's console can be shown here."""
    if not (os.isatty(0) and os.isatty(1)):
        return Finding(Status.NOTE, "not on a terminal: machines run without a window size, Ctrl-C pressed twice stops them")
    size = window_size(1)
    shape = f"{size.columns} × {size.rows}" if size else "of unknown size"
    kind = host.environment.get("TERM", "")
    if kind in {"", "dumb"}:
        return Finding(Status.WARNING, f"a terminal {shape} without TERM", "set TERM, for example to xterm-256color")
    return Finding(Status.OK, f"{kind}, {shape}")
