"""Commands about limits and what is used of them: update, events."""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path
from typing import Any, Final

from gasang.cli.oci.command import ID, Command
from gasang.cli.oci.lifecycle import tell
from gasang.cli.options import Example, Option, Parsed, Syntax, plain_text, switch, value
from gasang.core.errors import UsageError
from gasang.core.units import parse_duration, parse_size
from gasang.kinds.container.bundle import Bundles
from gasang.kinds.container.cgroups.stats import Stats, read_stats
from gasang.kinds.container.config.node import Node, parse
from gasang.kinds.container.config.resources import read_resources

RESOURCES = value("resources", "FILE", "all limits as JSON, as linux.resources in config.json; - is standard input", plain_text, short="r")
INTERVAL = value("interval", "TIME", "how often figures are printed (default: 5s)", parse_duration)
ONCE = switch("stats", "print the figures once")


def _number(text: str, subject: str) -> int:
    """A number, or a size such as 512M; -1 is no limit."""
    return -1 if text == "-1" else parse_size(text, subject)


def _limit(name: str, help_: str) -> Option[int | None]:
    return value(name, "N", help_, _number)


NUMBERS: Final[dict[Option[int | None], tuple[str, str]]] = {
    _limit("blkio-weight", "share of block I/O, 10 to 1000"): ("blockIO", "weight"),
    _limit("cpu-period", "microseconds of a period"): ("cpu", "period"),
    _limit("cpu-quota", "microseconds of processor time in a period"): ("cpu", "quota"),
    _limit("cpu-burst", "microseconds that may be saved up"): ("cpu", "burst"),
    _limit("cpu-rt-period", "microseconds of a real-time period"): ("cpu", "realtimePeriod"),
    _limit("cpu-rt-runtime", "microseconds of real-time in a period"): ("cpu", "realtimeRuntime"),
    _limit("cpu-share", "share of processor time, relative to 1024"): ("cpu", "shares"),
    _limit("cpu-idle", "1: only where nobody else wants to run"): ("cpu", "idle"),
    _limit("memory", "bytes of memory"): ("memory", "limit"),
    _limit("memory-reservation", "bytes of memory that are kept for it"): ("memory", "reservation"),
    _limit("memory-swap", "bytes of memory and swap together"): ("memory", "swap"),
    _limit("pids-limit", "number of processes"): ("pids", "limit"),
}
TEXTS: Final = {
    value("cpuset-cpus", "LIST", "processors, such as 0-3,7", plain_text): ("cpu", "cpus"),
    value("cpuset-mems", "LIST", "memory nodes", plain_text): ("cpu", "mems"),
}


def update(parsed: Parsed, bundles: Bundles) -> int:
    """Change limits."""
    tell(bundles.update(parsed.arguments[0], read_resources(resources_node(parsed))))
    return 0


def resources_node(parsed: Parsed) -> Node:
    """The limits that the words describe, as in a configuration. Raises UsageError if there are none."""
    path = parsed.get(RESOURCES)
    if path is not None:
        return parse(sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes(), path)
    limits: dict[str, dict[str, Any]] = {}
    given: list[tuple[int | str | None, tuple[str, str]]] = [(parsed.get(option), place) for option, place in NUMBERS.items()]
    given += [(parsed.get(option), place) for option, place in TEXTS.items()]
    for wanted, (part, member) in given:
        if wanted is not None:
            limits.setdefault(part, {})[member] = wanted
    if not limits:
        raise UsageError("gasang oci update", "no limit is given", "add one, such as --memory 512M")
    return Node(limits, "", "command line")


def figures(stats: Stats) -> dict[str, Any]:
    """Figures in the arrangement in which engines read them from an OCI runtime."""
    entries = [(device, operation) for device in stats.io for operation in device.bytes]
    return {
        "cpu": {
            "usage": {"total": stats.cpu_total, "percpu": list(stats.cpu_each), "kernel": stats.cpu_system, "user": stats.cpu_user},
            "throttling": {
                "periods": stats.periods, "throttledPeriods": stats.throttled_periods, "throttledTime": stats.throttled_time,
            },
        },
        "memory": {
            "cache": stats.memory_detail.get("cache", stats.memory_detail.get("file", 0)),
            "usage": _memory(stats.memory_limit, stats.memory, stats.memory_peak, stats.memory_failures),
            "swap": _memory(stats.swap_limit, stats.swap, 0, 0),
            "raw": dict(stats.memory_detail),
        },
        "pids": {"current": stats.pids, "limit": stats.pids_limit or 0},
        "blkio": {
            "ioServiceBytesRecursive": [_entry(device, operation, device.bytes[operation]) for device, operation in entries],
            "ioServicedRecursive": [_entry(device, operation, device.operations.get(operation, 0)) for device, operation in entries],
        },
    }  # fmt: skip


def _memory(limit: int | None, usage: int, peak: int, failures: int) -> dict[str, int]:
    return {"limit": (1 << 64) - 1 if limit is None else limit, "usage": usage, "max": peak, "failcnt": failures}


def _entry(device: Any, operation: str, number: int) -> dict[str, Any]:
    return {"major": device.major, "minor": device.minor, "op": operation.capitalize(), "value": number}


def _print(identity: str, kind: str, data: Any = None) -> None:
    print(json.dumps({"type": kind, "id": identity} | ({} if data is None else {"data": data})), flush=True)


def events(parsed: Parsed, bundles: Bundles) -> int:
    """Print figures now and then, and what happens for want of memory, until the container ends."""
    identity = parsed.arguments[0]
    group = bundles.running_group(identity)
    if parsed.get(ONCE):
        _print(identity, "stats", figures(read_stats(group)))
        return 0
    kills = group.out_of_memory_kills()
    milliseconds = int((parsed.get(INTERVAL) or 5) * 1000)
    with bundles.process(bundles.record(identity)) as pidfd:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(milliseconds):
            stats = read_stats(group)
            if stats.out_of_memory_kills > kills:
                kills = stats.out_of_memory_kills
                _print(identity, "oom")
            _print(identity, "stats", figures(stats))
    return 0


COMMANDS: Final = {
    "update": Command(
        Syntax(
            "Change the limits of a container.",
            (RESOURCES, *NUMBERS, *TEXTS),
            (ID,),
            examples=(Example("gasang oci update --memory 512M web", "at most 512 MiB"),),
        ),
        update,
    ),
    "events": Command(
        Syntax(
            "Print what a container uses, and what happens to it, as JSON.",
            (INTERVAL, ONCE),
            (ID,),
            examples=(Example("gasang oci events --stats web", "once"),),
        ),
        events,
    ),
}
