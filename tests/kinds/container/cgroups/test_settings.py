"""Limits as files and values."""

from __future__ import annotations

import pytest

from gasang.core.errors import UnsupportedError
from gasang.kinds.container.cgroups.settings import version_1, version_2, weight_of_block, weight_of_shares
from gasang.kinds.container.config.resources import BlockIo, Cpu, DeviceRate, Memory, Resources


def on(minor: int, rate: int) -> tuple[DeviceRate, ...]:
    return (DeviceRate(8, minor, rate),)


LIMITS = Resources(
    Memory(limit=1000, swap=1500, reservation=500, swappiness=10, disable_oom_killer=True),
    Cpu(shares=2048, quota=50000, period=100000, burst=10, cpus="0", mems="0", idle=1),
    pids=7,
    block=BlockIo(500, on(0, 300), on(0, 11), on(1, 12), on(2, 13), on(3, 14)),
    huge_pages={"2MB": 4},
    network_class=9,
    network_priorities={"eth0": 3},
    rdma={"mlx": "hca_handle=1"},
    unified={"memory.high": "900"},
)


def test_version_1() -> None:
    assert [(setting.file, setting.value) for setting in version_1(LIMITS)] == [
        ("memory.limit_in_bytes", "1000"), ("memory.memsw.limit_in_bytes", "1500"), ("memory.soft_limit_in_bytes", "500"),
        ("memory.swappiness", "10"), ("memory.oom_control", "1"), ("cpu.shares", "2048"), ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"), ("cpu.cfs_burst_us", "10"), ("cpu.idle", "1"), ("cpuset.cpus", "0"), ("cpuset.mems", "0"),
        ("net_cls.classid", "9"), ("pids.max", "7"), ("blkio.bfq.weight", "500"), ("blkio.bfq.weight_device", "8:0 300"),
        ("blkio.throttle.read_bps_device", "8:0 11"), ("blkio.throttle.write_bps_device", "8:1 12"),
        ("blkio.throttle.read_iops_device", "8:2 13"), ("blkio.throttle.write_iops_device", "8:3 14"), ("hugetlb.2MB.limit_in_bytes", "4"),
        ("net_prio.ifpriomap", "eth0 3"), ("rdma.max", "mlx hca_handle=1"),
    ]  # fmt: skip


def test_version_2() -> None:
    assert [(setting.file, setting.value) for setting in version_2(LIMITS)] == [
        ("memory.max", "1000"), ("memory.swap.max", "500"), ("memory.low", "500"), ("cpu.weight", "79"), ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "10"), ("cpu.idle", "1"), ("cpuset.cpus", "0"), ("cpuset.mems", "0"), ("pids.max", "7"),
        ("io.weight", "default 4950"), ("io.weight", "8:0 2930"), ("io.max", "8:0 rbps=11"), ("io.max", "8:1 wbps=12"),
        ("io.max", "8:2 riops=13"), ("io.max", "8:3 wiops=14"), ("hugetlb.2MB.max", "4"), ("rdma.max", "mlx hca_handle=1"),
        ("memory.high", "900"),
    ]  # fmt: skip


def test_no_limit_is_max_in_version_2() -> None:
    found = version_2(Resources(Memory(limit=-1, swap=-1, reservation=-1), Cpu(quota=-1), pids=-1))
    assert [setting.value for setting in found] == ["max", "max", "max", "max 100000", "max"]


def test_nothing_asked_for_is_nothing_written() -> None:
    assert version_1(Resources()) == version_2(Resources()) == []


def test_real_time_is_refused_in_version_2() -> None:
    with pytest.raises(UnsupportedError, match="realtimeRuntime"):
        version_2(Resources(cpu=Cpu(realtime_runtime=5)))


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (1 << 40, 10000)])
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


@pytest.mark.parametrize(("block", "weight"), [(10, 1), (1000, 10000), (5, 1)])
def test_block_weights(block: int, weight: int) -> None:
    assert weight_of_block(block) == weight
