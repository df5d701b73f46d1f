"""What an engine takes of the host, counted: two counts are compared by a test that wants nothing to be left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.engines.engine import Engine

_KEPT = {("data", "images"), ("run", "machines"), ("cache", "native")}
SPARE_DESCRIPTORS = 8
"""A daemon may keep some descriptors ready."""


def counts(engine: Engine) -> dict[str, int]:
    """Control groups, mounts, links, firewall rules, network namespaces with a name, processes, namespaces, descriptors, files of work."""
    groups = sum(len(folders) for top in Path("/sys/fs/cgroup").glob("*/g[ao]*") for _, folders, _ in os.walk(top))
    links = len(_lines("ip", "-o", "link"))
    rules = sum(line.startswith("-A") for line in _lines("iptables-save"))
    tables = len(_lines("nft", "list", "ruleset"))
    named = len(list(Path("/run/docker/netns").glob("*"))) if Path("/run/docker/netns").exists() else 0
    processes = _processes(engine)
    return {
        "groups": groups,
        "mounts": len(Path(f"/proc/{engine.pid}/mountinfo").read_text().splitlines()),
        "links": links,
        "rules": rules + tables,
        "named namespaces": named,
        "processes": len(processes),
        "namespaces": len(_namespaces(processes)),
        "descriptors": len(os.listdir(f"/proc/{engine.pid}/fd")),
        "files": _files(engine.home) if engine.name == "gasang" else 0,
    }


def settled(engine: Engine, before: dict[str, int]) -> bool:
    """Whether nothing is more than before."""
    return not grown(engine, before)


def grown(engine: Engine, before: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What is more than before: before, now."""
    now = counts(engine)
    spare = {"descriptors": SPARE_DESCRIPTORS}
    return {what: (before[what], now[what]) for what in now if now[what] > before[what] + spare.get(what, 0)}


def _lines(*command: str) -> list[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        return []


def _processes(engine: Engine) -> list[int]:
    """The engine's own processes and its containers': whose control group or working folder is the engine's, and who descends from them."""
    parents: dict[int, int] = {}
    marked: set[int] = {engine.pid}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            descriptors = {os.readlink(f"/proc/{entry}/fd/{number}") for number in os.listdir(f"/proc/{entry}/fd")}
        except OSError:
            continue
        parents[int(entry)] = int(fields[1])
        if any(path.startswith(f"{engine.home}/") and "daemon.log" not in path for path in descriptors):
            marked.add(int(entry))
    size = 0
    while size != len(marked):
        size = len(marked)
        marked |= {pid for pid, parent in parents.items() if parent in marked}
    return sorted(marked)


def _namespaces(processes: list[int]) -> set[str]:
    found: set[str] = set()
    for pid in processes:
        try:
            found |= {os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir(f"/proc/{pid}/ns")}
        except OSError:
            continue
    return found


def _files(home: Path) -> int:
    """Files and folders of ours, but for the log, what is kept of images, and execs that can still be asked about."""
    total = 0
    for parent, folders, files in os.walk(home):
        inside = Path(parent).relative_to(home).parts
        if inside[:2] in _KEPT:
            folders.clear()
        elif len(inside) > 1:  # the folders of an empty home are made when they are first needed
            total += len(folders) + len(files)
    return total
