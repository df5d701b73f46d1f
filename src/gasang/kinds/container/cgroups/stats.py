"""What a container has used: read from its control groups, the same figures on every sort of host; or from its processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gasang.kinds.container.cgroups.group import Cgroup, read_counters, read_text


@dataclass(frozen=True)
class DeviceUse:
    """Bytes and operations of one block device, by what was done ("read", "write", …)."""

    major: int
    minor: int
    bytes: Mapping[str, int]
    operations: Mapping[str, int]


@dataclass(frozen=True)
class Stats:
    """Times are nanoseconds, memory is bytes; a limit of None is none."""

    cpu_total: int = 0
    cpu_user: int = 0
    cpu_system: int = 0
    cpu_each: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0
    memory: int = 0
    memory_limit: int | None = None
    memory_peak: int = 0
    memory_failures: int = 0
    swap: int = 0
    swap_limit: int | None = None
    memory_detail: Mapping[str, int] = field(default_factory=dict)
    pids: int = 0
    pids_limit: int | None = None
    io: tuple[DeviceUse, ...] = ()
    out_of_memory_kills: int = 0


_UNLIMITED = 1 << 62
"""Version 1 says a limit of nearly 2**63 where there is none."""


def read_stats(group: Cgroup) -> Stats:
    """The figures now; what the host does not keep is 0."""
    stats = _unified(group.folders[""]) if group.hierarchies.unified_only else _legacy(group)
    return replace(stats, out_of_memory_kills=group.out_of_memory_kills())


def read_processes(pids: Sequence[int]) -> Stats:
    """The figures of processes that are in no group of their own: what those that run have used, their memory each by itself."""
    ticks = os.sysconf("SC_CLK_TCK")
    page = os.sysconf("SC_PAGE_SIZE")
    user = system = pages = 0
    for pid in pids:
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 21:
            user, system, pages = user + int(fields[11]), system + int(fields[12]), pages + int(fields[21])
    times = [value * 1_000_000_000 // ticks for value in (user, system)]
    return Stats(cpu_total=sum(times), cpu_user=times[0], cpu_system=times[1], memory=pages * page, pids=len(pids))


def _unified(folder: str) -> Stats:
    cpu = _counters(f"{folder}/cpu.stat")
    events = _counters(f"{folder}/memory.events")
    return Stats(
        cpu_total=cpu.get("usage_usec", 0) * 1000,
        cpu_user=cpu.get("user_usec", 0) * 1000,
        cpu_system=cpu.get("system_usec", 0) * 1000,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_time=cpu.get("throttled_usec", 0) * 1000,
        memory=_number(f"{folder}/memory.current") or 0,
        memory_limit=_number(f"{folder}/memory.max"),
        memory_peak=_number(f"{folder}/memory.peak") or 0,
        memory_failures=events.get("max", 0),
        swap=_number(f"{folder}/memory.swap.current") or 0,
        swap_limit=_number(f"{folder}/memory.swap.max"),
        memory_detail=_counters(f"{folder}/memory.stat"),
        pids=_number(f"{folder}/pids.current") or 0,
        pids_limit=_number(f"{folder}/pids.max"),
        io=tuple(_unified_io(_text(f"{folder}/io.stat"))),
    )


def _unified_io(text: str) -> list[DeviceUse]:
    found = []
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        major, colon, minor = device.partition(":")
        values = {name: int(value) for name, _, value in (cell.partition("=") for cell in rest.split()) if value.isdigit()}
        if colon and major.isdigit() and minor.isdigit():
            in_bytes = {"read": values.get("rbytes", 0), "write": values.get("wbytes", 0), "discard": values.get("dbytes", 0)}
            operations = {"read": values.get("rios", 0), "write": values.get("wios", 0), "discard": values.get("dios", 0)}
            found.append(DeviceUse(int(major), int(minor), in_bytes, operations))
    return found


def _legacy(group: Cgroup) -> Stats:
    def folder(controller: str) -> str:
        hierarchy = group.hierarchies.holding(controller)
        return "/nonexistent" if hierarchy is None else group.folders[hierarchy.name]

    account, cpu, memory, pids = folder("cpuacct"), folder("cpu"), folder("memory"), folder("pids")
    shares = _counters(f"{cpu}/cpu.stat")
    times = _counters(f"{account}/cpuacct.stat")
    return Stats(
        cpu_total=_number(f"{account}/cpuacct.usage") or 0,
        cpu_user=times.get("user", 0) * 10_000_000,
        cpu_system=times.get("system", 0) * 10_000_000,
        cpu_each=tuple(int(value) for value in _text(f"{account}/cpuacct.usage_percpu").split()),
        periods=shares.get("nr_periods", 0),
        throttled_periods=shares.get("nr_throttled", 0),
        throttled_time=shares.get("throttled_time", 0),
        memory=_number(f"{memory}/memory.usage_in_bytes") or 0,
        memory_limit=_limit(f"{memory}/memory.limit_in_bytes"),
        memory_peak=_number(f"{memory}/memory.max_usage_in_bytes") or 0,
        memory_failures=_number(f"{memory}/memory.failcnt") or 0,
        swap=_number(f"{memory}/memory.memsw.usage_in_bytes") or 0,
        swap_limit=_limit(f"{memory}/memory.memsw.limit_in_bytes"),
        memory_detail=_counters(f"{memory}/memory.stat"),
        pids=_number(f"{pids}/pids.current") or 0,
        pids_limit=_number(f"{pids}/pids.max"),
        io=tuple(_legacy_io(_text, folder("blkio"))),
    )


def _legacy_io(read: Callable[[str], str], folder: str) -> list[DeviceUse]:
    found: dict[tuple[int, int], tuple[dict[str, int], dict[str, int]]] = {}
    for place, file in enumerate(("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive")):
        for line in read(f"{folder}/{file}").splitlines():
            cells = line.split()
            if len(cells) == 3 and ":" in cells[0] and cells[2].isdigit():
                major, _, minor = cells[0].partition(":")
                found.setdefault((int(major), int(minor)), ({}, {}))[place][cells[1].lower()] = int(cells[2])
    return [DeviceUse(major, minor, in_bytes, operations) for (major, minor), (in_bytes, operations) in found.items()]


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return read_text(path)
    return ""


def _counters(path: str) -> dict[str, int]:
    with contextlib.suppress(OSError):
        return read_counters(path)
    return {}


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _limit(path: str) -> int | None:
    value = _number(path)
    return None if value is None or value >= _UNLIMITED else value
