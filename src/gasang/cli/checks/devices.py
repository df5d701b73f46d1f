"""Checks of what machines are given of the host: large pages, network devices, a disk that keeps up."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from gasang.cli.checks.finding import Finding, Host, Status
from gasang.cli.checks.machine import nearest_existing
from gasang.core.paths import cache_folder
from gasang.core.units import MIB, format_size

_TUNSETIFF: Final = 0x400454CA
_TAP_ONLY: Final = 0x0002 | 0x1000
"""IFF_TAP | IFF_NO_PI (linux/if_tun.h)."""
_WRITTEN: Final = 32 * MIB
_PIECE: Final = b"\x5a" * MIB
_SETTLED: Final = 8
_SLOW: Final = 20 * MIB
"""Bytes a second under which a pull takes minutes."""


def check_huge_pages(host: Host) -> Finding:
    """Guests' memory can be in large pages, which the host's translation holds more of."""
    if sys.platform != "linux":
        return Finding(Status.NOTE, "large pages are used on Linux only")
    text = _text(host.path("/sys/kernel/mm/transparent_hugepage/enabled"))
    found = re.search(r"\[(\w+)\]", text)
    chosen = found[1] if found else "absent"
    if chosen in ("always", "madvise"):
        return Finding(Status.OK, f"transparent large pages: {chosen}")
    remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
    return Finding(Status.NOTE, f"transparent large pages: {chosen}; guests that use much memory are slower ({remedy} changes that)")


def check_tap(host: Host) -> Finding:
    """Network devices for machines can be made, by making one for a moment."""
    if sys.platform != "linux":
        return Finding(Status.NOTE, "tap devices are used on Linux only")
    import fcntl

    device = host.path("/dev/net/tun")
    try:
        with open(device, "r+b", buffering=0) as tun:
            fcntl.ioctl(tun, _TUNSETIFF, b"gasangtap%d".ljust(16, b"\0") + _TAP_ONLY.to_bytes(2, sys.byteorder) + bytes(22))
    except PermissionError:
        return Finding(Status.NOTE, f"{device} makes no network device for this user; root, or CAP_NET_ADMIN, has them")
    except OSError as error:
        remedy = "load the module (modprobe tun), or have /dev/net/tun passed in"
        return Finding(Status.WARNING, f"no network device can be made at {device} ({error.strerror})", remedy)
    return Finding(Status.OK, f"{device} makes network devices")


def check_speed(host: Host) -> Finding:
    """How fast the disk of the cache takes data and settles it, by writing a little."""
    place = nearest_existing(cache_folder(host.environment))
    try:
        rate, settling = measured(place)
    except OSError as error:
        return Finding(Status.WARNING, f"{place} cannot be written ({error.strerror})", "make it writable, or set XDG_CACHE_HOME")
    text = f"{format_size(int(rate))}/s written at {place}, {settling * 1000:.1f} ms to settle a block"
    if rate < _SLOW:
        return Finding(Status.WARNING, text, "set XDG_CACHE_HOME and XDG_DATA_HOME to a faster disk")
    return Finding(Status.OK, text)


def measured(place: Path) -> tuple[float, float]:
    """(bytes a second written and settled, seconds to settle one block). Raises OSError."""
    settle = getattr(os, "fdatasync", os.fsync)
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        started = time.perf_counter()
        for _ in range(_WRITTEN // len(_PIECE)):
            file.write(_PIECE)
        settle(file.fileno())
        rate = _WRITTEN / (time.perf_counter() - started)
        took = []
        for number in range(_SETTLED):
            file.seek(number * len(_PIECE))
            started = time.perf_counter()
            file.write(_PIECE[:4096])
            settle(file.fileno())
            took.append(time.perf_counter() - started)
    return rate, sorted(took)[_SETTLED // 2]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
