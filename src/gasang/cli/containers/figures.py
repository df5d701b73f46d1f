"""What machines use, from two samples of the API. Pure."""

from __future__ import annotations

from typing import Any

from gasang.cli.output import Column, Row
from gasang.core.units import format_size


def _compiled(jit: dict[str, Any]) -> str:
    count = jit["regions"] + jit.get("loaded", 0)  # machines of before have not said what they loaded
    return f"{count} regions, {jit['coverage']:.0%}"


COLUMNS = (
    Column("name", "NAME"),
    Column("cpu", "CPU", lambda share: f"{share:.1f} %"),
    Column("memory", "MEMORY", format_size),
    Column("memory_limit", "LIMIT", format_size),
    Column("shared", "SHARED", lambda size: "–" if size is None else format_size(size)),
    Column("received", "RECEIVED", format_size),
    Column("sent", "SENT", format_size),
    Column("read", "READ", format_size),
    Column("written", "WRITTEN", format_size),
    Column("pids", "PIDS"),
    Column("jit", "COMPILED", lambda jit: "–" if jit is None else _compiled(jit)),
    Column("id", ""),
)


def row(before: dict[str, Any], now: dict[str, Any]) -> Row:
    """A row of two samples of one machine; `cpu` in percent of one processor, the rest in bytes.

    Of a virtual machine `memory` is what is resident, `memory_limit` what its guest has, `shared` what of it others have as well (snapshots
    and twins). `jit` is what is compiled of its hot code, and which share of its instructions that executes; None where nothing is.
    """
    memory = now.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    networks = (now.get("networks") or {}).values()
    blocks = (now.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return {
        "name": str(now.get("name", "")).removeprefix("/"),
        "cpu": round(_share(before.get("cpu_stats") or {}, now.get("cpu_stats") or {}), 2),
        "memory": max(0, memory.get("usage", 0) - cache),
        "memory_limit": memory.get("limit", 0),
        "shared": detail.get("shared"),
        "received": sum(one["rx_bytes"] for one in networks),
        "sent": sum(one["tx_bytes"] for one in networks),
        "read": sum(one["value"] for one in blocks if one["op"].lower() == "read"),
        "written": sum(one["value"] for one in blocks if one["op"].lower() == "write"),
        "pids": (now.get("pids_stats") or {}).get("current", 0),
        "jit": now.get("jit_stats"),
        "id": now.get("id", ""),
    }


def _share(before: dict[str, Any], now: dict[str, Any]) -> float:
    """Percent of one processor between two samples."""
    used = _total(now) - _total(before)
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    return 100 * now.get("online_cpus", 1) * used / passed if used > 0 and passed > 0 else 0.0


def _total(sample: dict[str, Any]) -> int:
    return int((sample.get("cpu_usage") or {}).get("total_usage", 0))
