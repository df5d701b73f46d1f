"""A container as on a host that has control groups of version 2 only; this host may have others beside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.hierarchies import Hierarchies, find_hierarchies
from gasang.kinds.container.cgroups.stats import read_stats
from gasang.kinds.container.config.resources import Resources
from support.containers import Host, Output, needs_containers, script

pytestmark = needs_containers


@pytest.fixture
def group() -> Cgroup:
    unified = find_hierarchies().unified
    if unified is None:
        pytest.skip("needs control groups of version 2")
    return Cgroup.at("/test-outer/inner", "x", Hierarchies((), unified))


def removed(group: Cgroup) -> bool:
    folder = Path(group.folders[""])
    gone = not folder.exists()
    folder.parent.rmdir()
    return gone


def test_it_is_cloned_into_its_group_and_sees_only_that(host: Host, group: Cgroup) -> None:
    text = "grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; (echo 1 > /sys/fs/cgroup/cgroup.freeze) 2>&1"
    data = script(f"{text}; cat /dev/zero | head -c1 | wc -c")
    ran = host.run(data, cgroup=group)
    assert ran.lines[:2] == ["0::/", "1"]
    assert "Read-only" in ran.output
    assert ran.lines[-1] == "1"
    assert removed(group)


def test_devices_are_kept_by_a_program(host: Host, group: Cgroup) -> None:
    data = script("mknod /tmp/disk b 254 0; cat /tmp/disk; cat /tmp/disk; echo done")
    for name in ("bounding", "effective", "permitted"):
        data["process"]["capabilities"][name] += ["CAP_MKNOD"]
    ran = host.run(data, cgroup=group)
    assert ran.output.count("Operation not permitted") == 2
    assert removed(group)


def test_pausing_and_killing(host: Host, group: Cgroup) -> None:
    output = Output()
    data = script("sleep 100 & exec sleep 100")
    data["linux"]["namespaces"] = [entry for entry in data["linux"]["namespaces"] if entry["type"] != "pid"]
    container = host.create(data, output.write, cgroup=group)
    container.start()
    container.pause()
    assert group.frozen()
    assert "frozen 1" in (Path(group.folders[""]) / "cgroup.events").read_text()
    container.resume()
    assert not group.frozen()
    container.pause()
    container.delete(force=True)
    output.text()
    assert removed(group)


def test_processes_join_later(host: Host, group: Cgroup) -> None:
    from gasang.kinds.container.config.process import Process

    output = Output()
    container = host.create(script("exec sleep 100"), output.write, cgroup=group)
    container.start()
    child = container.execute(Process(("sleep", "100")))
    assert sorted(group.processes()) == sorted([container.pid, child.pid])
    container.kill(9)
    assert child.wait() == -9
    child.close()
    container.wait()
    container.delete()
    output.text()
    assert removed(group)


def test_what_the_host_does_not_keep_is_told(group: Cgroup) -> None:
    group.create(Resources(pids=5))
    folder = Path(group.folders[""])
    if "pids" in (folder / "cgroup.controllers").read_text():
        assert (folder / "pids.max").read_text() == "5\n"
    else:
        assert any("pids.max" in warning for warning in group.warnings)
    assert read_stats(group).pids_limit in (None, 5)
    assert os.path.isdir(folder)
    group.delete()
    assert removed(group)
