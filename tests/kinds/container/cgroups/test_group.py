"""Control groups of running containers: limits that hold, figures, and what the kernel ends for want of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import UsageError
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.stats import read_stats
from gasang.kinds.container.config.resources import Cpu, Memory, Resources
from support.containers import Host, Output, needs_containers, script

pytestmark = needs_containers


def test_processes_are_in_every_hierarchy(host: Host) -> None:
    output = Output()
    data = script("exec sleep 100")
    path = f"/test-{os.getpid()}-deep/er"
    data["linux"]["cgroupsPath"] = path
    container = host.create(data, output.write)
    text = Path(f"/proc/{container.pid}/cgroup").read_text()
    assert {line.split(":", 2)[2] for line in text.splitlines()} == {path}
    assert container.cgroup is not None
    assert container.cgroup.processes() == [container.pid]
    container.delete(force=True)
    output.text()
    assert not any(Path(folder).exists() for folder in container.cgroup.folders.values())
    for folder in container.cgroup.folders.values():
        Path(folder).parent.rmdir()


def test_the_number_of_processes_is_limited(host: Host) -> None:
    data = script("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait")
    data["linux"]["resources"]["pids"] = {"limit": 4}
    assert "can't fork" in host.run(data).output


def test_too_much_memory_is_told(host: Host) -> None:
    data = script("dd if=/dev/zero of=/dev/null bs=64M count=1; echo survived")
    data["process"]["args"] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"]
    data["linux"]["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    ended = host.run(data).exit
    assert (ended.code, ended.out_of_memory) == (137, True)


def test_limits_and_figures(host: Host) -> None:
    output = Output()
    data = script("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo ready; exec sleep 100")
    data["linux"]["resources"] |= {"memory": {"limit": 64 << 20}, "cpu": {"shares": 512, "quota": 90000}, "pids": {"limit": 50}}
    container = host.create(data, output.write)
    container.start()
    group = container.cgroup
    assert group is not None
    while "sleep" not in Path(f"/proc/{container.pid}/cmdline").read_text():
        assert container.status == "running"
    stats = read_stats(group)
    assert stats.cpu_total > 1_000_000
    assert (stats.pids, stats.pids_limit) == (1, 50)
    assert 0 < stats.memory < 64 << 20
    assert stats.memory_limit == 64 << 20
    assert stats.out_of_memory_kills == 0
    group.apply(Resources(Memory(limit=128 << 20), pids=60))
    assert (read_stats(group).memory_limit, read_stats(group).pids_limit) == (128 << 20, 60)
    with pytest.raises(UsageError, match=r"cpu.*quota|cpu.max"):
        group.apply(Resources(cpu=Cpu(quota=5)))
    container.delete(force=True)
    output.text()


def test_memory_and_swap_are_raised_and_lowered_in_the_right_order(host: Host) -> None:
    output = Output()
    data = script("exec sleep 100")
    data["linux"]["resources"]["memory"] = {"limit": 32 << 20, "swap": 48 << 20}
    container = host.create(data, output.write)
    assert container.cgroup is not None
    for size in (256, 16):
        container.cgroup.apply(Resources(Memory(limit=size << 20, swap=size + 8 << 20)))
        assert read_stats(container.cgroup).memory_limit == size << 20
    container.delete(force=True)
    output.text()


def test_a_limit_that_makes_no_sense_leaves_nothing_behind(host: Host) -> None:
    data = script("true")
    data["linux"]["cgroupsPath"] = "/test-refused"
    data["linux"]["resources"]["cpu"] = {"cpus": "4000"}
    output = Output()
    with pytest.raises(UsageError, match=r"cpuset\.cpus = 4000"):
        host.create(data, output.write)
    output.text()
    assert not any(Path(folder).exists() for folder in Cgroup.at("/test-refused", "x").folders.values())


def test_a_group_in_use_is_not_shared(host: Host) -> None:
    output = Output()
    data = script("exec sleep 100")
    data["linux"]["cgroupsPath"] = "/test-shared"
    container = host.create(data, output.write)
    with pytest.raises(UsageError, match="another container has processes"):
        host.create(data, output.write)
    assert container.cgroup is not None
    assert container.cgroup.processes() == [container.pid]
    container.delete(force=True)
    output.text()


def test_everything_is_killed_even_without_a_pid_namespace(host: Host) -> None:
    data = script("sleep 100 & sleep 100 & exec sleep 100")
    data["linux"]["namespaces"] = [entry for entry in data["linux"]["namespaces"] if entry["type"] != "pid"]
    output = Output()
    container = host.create(data, output.write)
    container.start()
    assert container.cgroup is not None
    while len(container.cgroup.processes()) < 3:
        assert container.status == "running"
    container.delete(force=True)
    assert container.cgroup.processes() == []
    output.text()
    assert not Path(next(iter(container.cgroup.folders.values()))).exists()
