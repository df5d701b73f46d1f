"""How much more memory a process may take, from the files of a host that is made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.kinds.container.cgroups.headroom import Headroom, headroom

MIB = 1 << 20
NAMES = {
    "cgroup2": ("memory.max", "memory.current", "inactive_file"),
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def host(place: Path, kind: str, groups: dict[str, tuple[str, int, int]], own: str, available: int = 1000 * MIB) -> Path:
    """Its /proc; `groups` are limit, usage and what a reclaim gives of each."""
    names = NAMES[kind]
    proc, mounted = place / "proc", place / "mounted"
    (proc / "self").mkdir(parents=True)
    (proc / "7").mkdir()
    (proc / "meminfo").write_text(f"MemTotal: {2 * available >> 10} kB\nMemAvailable: {available >> 10} kB\n")
    options = "rw" if kind == "cgroup2" else "rw,memory"
    (proc / "self" / "mountinfo").write_text(f"25 1 0:22 / {mounted} rw - {kind} {kind} {options}\n")
    line = f"0::{own}\n" if kind == "cgroup2" else f"4:memory:{own}\n"
    (proc / "self" / "cgroup").write_text(line)
    (proc / "7" / "cgroup").write_text(line)
    for name, (limit, usage, reclaimable) in groups.items():
        folder = mounted / name.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in zip((*names[:2], "memory.stat"), (limit, usage, f"anon 5\n{names[2]} {reclaimable}\n"), strict=True):
            (folder / file).write_text(f"{content}\n")
    return proc


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_the_narrowest_counts(kind: str, tmp_path: Path) -> None:
    groups = {"/a": (str(64 * MIB), 60 * MIB, MIB), "/a/b": (str(200 * MIB), 10 * MIB, 0)}
    assert headroom(7, host(tmp_path, kind, groups, "/a/b")) == Headroom(5 * MIB, "control group /a")


def test_without_limits_it_is_the_hosts(tmp_path: Path) -> None:
    assert headroom(7, host(tmp_path, "cgroup2", {"/a": ("max", MIB, 0)}, "/a")) == Headroom(1000 * MIB, "the host")


def test_one_above_its_limit_has_nothing(tmp_path: Path) -> None:
    proc = host(tmp_path, "cgroup2", {"/a": (str(MIB), 3 * MIB, 0)}, "/a")
    assert headroom(7, proc) == Headroom(0, "control group /a")
    assert headroom(8, proc) == Headroom(1000 * MIB, "the host")


def test_where_nothing_tells(tmp_path: Path) -> None:
    assert headroom(7, tmp_path) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_this_process_has_some() -> None:
    found = headroom(os.getpid())
    assert found is not None
    assert found.bytes > 0
