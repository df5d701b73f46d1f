"""Which hierarchies a host has, from the texts of three sorts of hosts."""

from __future__ import annotations

from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.hierarchies import read_hierarchies, read_memberships, unescape

LEGACY = """\
25 30 0:22 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED = "30 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
MEMBERSHIPS = "4:memory:/mine\n3:cpu,cpuacct:/\n1:name=systemd:/system.slice/x.service\n0::/\n"


def test_a_legacy_host() -> None:
    found = read_hierarchies(LEGACY, MEMBERSHIPS)
    assert {h.name: (h.folder, h.own, h.controllers) for h in found.legacy} == {
        "memory": ("/sys/fs/cgroup/memory", "/mine", ("memory",)),
        "cpu,cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", "/", ("cpu", "cpuacct")),
        "systemd": ("/sys/fs/cgroup/systemd", "/system.slice/x.service", ()),
    }
    assert found.unified is None
    assert not found.unified_only
    assert found.holding("cpuacct") is not None
    assert found.holding("pids") is None


def test_a_hybrid_host() -> None:
    found = read_hierarchies(LEGACY + UNIFIED, MEMBERSHIPS)
    assert found.unified is not None
    assert found.unified.folder == "/sys/fs/cgroup/unified"
    assert not found.unified_only


def test_a_unified_host() -> None:
    found = read_hierarchies("30 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/user.slice\n")
    assert found.unified_only
    assert found.unified is not None
    assert found.unified.own == "/user.slice"


def test_only_part_of_a_hierarchy_is_mounted_as_inside_a_container() -> None:
    line = "27 25 0:24 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert read_hierarchies(line, "4:memory:/docker/abc\n").legacy[0].own == "/"
    assert read_hierarchies(line, "4:memory:/docker/abc/x\n").legacy[0].own == "/x"
    assert read_hierarchies(line, "4:memory:/elsewhere\n").legacy[0].own == "/"


def test_paths_absolute_and_below_our_own() -> None:
    hierarchies = read_hierarchies(LEGACY, MEMBERSHIPS)
    assert Cgroup.at("/a/b", "id", hierarchies).folders["memory"] == "/sys/fs/cgroup/memory/a/b"
    assert Cgroup.at("", "id", hierarchies).folders["memory"] == "/sys/fs/cgroup/memory/mine/id"
    assert Cgroup.at("x", "id", hierarchies).folders["cpu,cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct/x"


def test_names_with_signs() -> None:
    assert unescape(r"/a\040b\134c") == "/a b\\c"
    assert read_memberships("1:name=x:/a:b\n") == {"x": "/a:b"}
