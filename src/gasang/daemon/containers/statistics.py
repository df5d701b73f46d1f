"""What a container uses, as the API's statistics have it."""

from __future__ import annotations

import os
from typing import Any

from gasang.daemon.containers.names import now
from gasang.daemon.containers.record import NEVER, Container
from gasang.kinds.container.cgroups.stats import Stats

MEMORY_DETAILS = (
    "cache", "rss", "active_anon", "inactive_anon", "active_file", "inactive_file", "total_inactive_file", "pgfault", "pgmajfault",
)  # fmt: skip


def sample(container: Container, stats: Stats, unified: bool, before: dict[str, Any] | None) -> dict[str, Any]:
    """One sample; `before` is the one that came before it, from which clients reckon the share of the processors."""
    memory_limit = stats.memory_limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    detail = dict(stats.memory_detail) if unified else {name: stats.memory_detail.get(name, 0) for name in MEMORY_DETAILS}
    return {
        "read": now(),
        "preread": before["read"] if before else NEVER,
        "id": container.id,
        "name": f"/{container.name}",
        "num_procs": 0,
        "pids_stats": {"current": stats.pids, **({"limit": stats.pids_limit} if stats.pids_limit is not None else {})},
        "cpu_stats": _processor(stats),
        "precpu_stats": before["cpu_stats"]
        if before
        else {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}},
        "memory_stats": {
            "usage": stats.memory,
            "max_usage": stats.memory_peak,
            "failcnt": stats.memory_failures,
            "stats": detail,
            "limit": memory_limit,
        },
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": use.major, "minor": use.minor, "op": name, "value": value}
                for use in stats.io
                for name, value in use.bytes.items()
            ],
            "io_serviced_recursive": [
                {"major": use.major, "minor": use.minor, "op": name, "value": value}
                for use in stats.io
                for name, value in use.operations.items()
            ],
        },
        "storage_stats": {},
        **({"networks": networks} if (networks := interfaces(container.status.pid)) else {}),
    }


def _processor(stats: Stats) -> dict[str, Any]:
    return {
        "cpu_usage": {
            "total_usage": stats.cpu_total,
            "percpu_usage": list(stats.cpu_each) or None,
            "usage_in_kernelmode": stats.cpu_system,
            "usage_in_usermode": stats.cpu_user,
        },
        "system_cpu_usage": host_time(),
        "online_cpus": len(os.sched_getaffinity(0)),
        "throttling_data": {"periods": stats.periods, "throttled_periods": stats.throttled_periods, "throttled_time": stats.throttled_time},
    }


def host_time() -> int:
    """Nanoseconds that all processors of the host have spent."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:8]]
    return sum(ticks) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def interfaces(process: int | str) -> dict[str, dict[str, int]]:
    """What went through the interfaces of a process's network, but lo."""
    found = {}
    try:
        with open(f"/proc/{process}/net/dev", encoding="ascii") as file:
            lines = file.readlines()[2:]
    except OSError:
        return {}
    for line in lines:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if name.strip() != "lo" and len(numbers) >= 12:
            found[name.strip()] = {
                "rx_bytes": numbers[0],
                "rx_packets": numbers[1],
                "rx_errors": numbers[2],
                "rx_dropped": numbers[3],
                "tx_bytes": numbers[8],
                "tx_packets": numbers[9],
                "tx_errors": numbers[10],
                "tx_dropped": numbers[11],
            }
    return found


def nothing(container: Container) -> dict[str, Any]:
    """The sample of a container that does not run."""
    return {
        "read": NEVER,
        "preread": NEVER,
        "id": container.id,
        "name": f"/{container.name}",
        "cpu_stats": {},
        "precpu_stats": {},
        "memory_stats": {},
    }
