"""Reading a configuration: what is right becomes values, what is wrong one sentence, whatever it is."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError
from gasang.kinds.container.cgroups.settings import version_1, version_2
from gasang.kinds.container.config.config import Config, read_config
from gasang.kinds.container.config.node import MOST_BYTES, parse
from gasang.kinds.container.planning.order import FolderRoot, Order
from gasang.kinds.container.planning.planner import Planner
from gasang.kinds.container.template import template

FULL: dict[str, Any] = {
    **template(),
    "domainname": "example",
    "annotations": {"a": "b"},
    "hooks": {"prestart": [{"path": "/bin/true", "args": ["true", "x"], "env": ["A=1"], "timeout": 3}], "poststop": []},
}
FULL["process"].update(
    consoleSize={"height": 24, "width": 80},
    oomScoreAdj=-5,
    scheduler={"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
    ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
    apparmorProfile="a",
    selinuxLabel="b",
)
FULL["process"]["user"] = {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18}
FULL["linux"].update(
    devices=[{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, "fileMode": 438, "uid": 3, "gid": 4}],
    sysctl={"net.core.somaxconn": "1", "kernel/shmmax": "2"},
    rootfsPropagation="rslave",
    personality={"domain": "LINUX32"},
    cgroupsPath="/a/b",
    resources={
        "memory": {"limit": 1 << 30, "swap": -1, "swappiness": 3, "reservation": 5, "disableOOMKiller": True},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0", "idle": 0, "burst": 1},
        "pids": {"limit": 9},
        "blockIO": {"weight": 20, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 99}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 7}],
        "network": {"classID": 5, "priorities": [{"name": "lo", "priority": 1}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3}},
        "unified": {"memory.high": "max"},
        "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "r"}],
    },
    seccomp={
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 2,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}
        ],
    },
)


def read(data: Any) -> Config:
    return read_config(json.dumps(data))


def changed(path: str, value: Any) -> dict[str, Any]:
    """FULL with one member changed."""
    data = copy.deepcopy(FULL)
    place: Any = data
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parts:
        place = place[part] if isinstance(part, int) else place.setdefault(part, {})
    place[last] = value
    return data


def test_everything_is_read() -> None:
    config = read(FULL)
    process = config.process
    assert process is not None
    assert (process.user.uid, process.user.gid, process.user.groups, process.user.umask) == (1, 2, (3,), 18)
    assert (process.console_size, process.oom_score_adj, process.io_priority) == ((24, 80), -5, 2 << 13 | 4)
    assert process.scheduler is not None
    assert (process.scheduler.policy, process.scheduler.flags) == (3, 1)
    assert process.capabilities.bounding == 1 << 29 | 1 << 5 | 1 << 10
    assert config.hooks["prestart"][0].timeout == 3
    linux = config.linux
    assert linux.sysctl == {"net/core/somaxconn": "1", "kernel/shmmax": "2"}
    assert linux.personality == 8
    assert linux.resources.devices[1].minor is None
    assert linux.seccomp is not None
    assert linux.seccomp.default == 0x50002
    assert linux.seccomp.architectures == ("x86_64",)
    assert linux.resources.rdma == {"mlx5_1": "hca_handle=3"}


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("ociVersion", None, "ociVersion is missing"),
        ("ociVersion", "2.0.0", "version 1.2.0 is spoken here"),
        ("process.cwd", "tmp", "process.cwd must be an absolute path, not 'tmp'"),
        ("process.args", [], "process.args has no program to run"),
        ("process.args", ["a\0b"], r"process.args\[0\] has a NUL character"),
        ("process.args", "sh", "process.args must be an array"),
        ("process.user.uid", -1, "process.user.uid must be from 0 to 4294967294, not -1"),
        ("process.user.uid", True, "process.user.uid must be a whole number"),
        ("process.user.uid", 1.0, "process.user.uid must be a whole number"),
        ("process.terminal", 1, "process.terminal must be true or false"),
        ("process.rlimits", [{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}], "'RLIMIT_LUCK'"),
        ("process.rlimits", [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}], "soft limit 2 is above the hard limit 1"),
        ("process.rlimits", [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2, "is there twice"),
        ("process.oomScoreAdj", 2000, "process.oomScoreAdj must be from -1000 to 1000"),
        ("root.path", "", "root.path is empty"),
        ("mounts", {"destination": "/"}, "mounts must be an array"),
        ("mounts.0.destination", None, "destination is missing"),
        ("hostname", "x" * 65, "hostname is longer than 64 bytes"),
        ("hooks.prestart", [{"path": "true"}], "must be an absolute path"),
        ("annotations", {"": "x"}, "is empty"),
        ("linux.namespaces", [{"type": "uts"}, {"type": "uts"}, {"type": "mount"}, {"type": "ipc"}, {"type": "network"}], "type uts twice"),
        ("linux.namespaces", [{"type": "galaxy"}], "'galaxy'"),
        ("linux.namespaces", [{"type": "uts", "path": "relative"}], "must be an absolute path"),
        ("linux.namespaces", [{"type": "mount"}], "hostname is there without a uts namespace|needs the container's own"),
        ("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}], "without a user namespace"),
        ("linux.timeOffsets", {"boottime": {"secs": 1}}, "without a time namespace"),
        ("linux.sysctl", {"vm.swappiness": "0"}, "a setting of the whole host"),
        ("linux.sysctl", {"kernel.core_pattern": "|x"}, "a setting of the whole host"),
        ("linux.sysctl", {"net.../../../kernel/core_pattern": "|x"}, "is no name of a setting"),
        ("linux.sysctl", {"net/../kernel/core_pattern": "|x"}, "is no name of a setting"),
        ("linux.cgroupsPath", "/a/../../b", "climbs"),
        ("linux.maskedPaths", ["relative"], "must be an absolute path"),
        ("linux.devices.0.type", "q", "'q'"),
        ("linux.devices.0.major", 4096, "must be from 0 to 4095"),
        ("linux.rootfsPropagation", "sideways", "'sideways'"),
        ("linux.resources.cpu.cpus", "0;1", "no list of numbers"),
        ("linux.resources.unified", {"../x": "1"}, "is no name of a limit"),
        ("linux.resources.hugepageLimits", [{"pageSize": "../2MB", "limit": 1}], "is no name of a limit"),
        ("linux.resources.devices", [{"allow": True, "access": "rx"}], "none of r, w and m"),
        ("linux.seccomp.defaultAction", "SCMP_ACT_SMILE", "'SCMP_ACT_SMILE'"),
        ("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY", "goes with SCMP_ACT_ERRNO|could not go on"),
        ("linux.seccomp.syscalls.0.args.0.index", 6, "must be from 0 to 5"),
        ("linux.seccomp.syscalls.0.action", "SCMP_ACT_NOTIFY", "listenerPath is missing"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(path: str, value: Any, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence) as caught:
        read(changed(path, value))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config.json: ")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"a": NaN}', "[" * 100_000, '{"ociVersion": "1.0.0", "linux": []}'])
def test_what_is_no_configuration_at_all_is_told(text: str) -> None:
    with pytest.raises(BadInputError):
        read_config(text)


def test_a_configuration_larger_than_any_is_refused() -> None:
    with pytest.raises(BadInputError, match="which no configuration has"):
        parse(b" " * (MOST_BYTES + 1), "config.json")


def test_members_nobody_knows_are_passed_over() -> None:
    assert read(changed("linux.ofTomorrow", {"x": 1})) == read(FULL)
    assert read(changed("ofTomorrow", 5)) == read(FULL)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from(["/", "/proc", "..", "ro", "bind", "\0", "mount", "user", "SCMP_ACT_ALLOW"]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        found += places(child, (*path, key))
    return found


PLACES = places(FULL)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_any_damage_is_a_sentence_or_a_plan(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = copy.deepcopy(FULL)
    for path, value in changes:
        place: Any = data
        try:
            for part in path[:-1]:
                place = place[part]
            place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken the place away
    with contextlib.suppress(GasangError):
        config = read(data)
        assert config.process is None or config.process.args
        version_1(config.linux.resources)
        version_2(config.linux.resources)
        if config.process is not None:
            order = Order(config, FolderRoot("/nowhere"), "fuzz", waits_for_start=True, waits_for_hooks=True, console_socket=9)
            assert Planner(order, config.process).build().data
