"""Limits as what is written to which file: one table for version 1, one for version 2. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gasang.core.errors import UnsupportedError
from gasang.kinds.container.config.resources import BlockIo, DeviceRate, Resources

PERIOD: Final = 100_000
"""Microseconds, the kernel's own cpu period."""


class Setting(NamedTuple):
    """A value for a file of a controller. One that is `optional` may be refused by a host that does not have it."""

    controller: str
    file: str
    value: str
    optional: bool = False


def version_1(limits: Resources) -> list[Setting]:
    """Files of the legacy hierarchies, in the order in which they are to be written."""
    found = list(_memory_1(limits))
    cpu = limits.cpu
    plain = (
        ("cpu", "cpu.shares", cpu.shares or None),
        ("cpu", "cpu.rt_period_us", cpu.realtime_period or None),
        ("cpu", "cpu.rt_runtime_us", cpu.realtime_runtime or None),
        ("cpu", "cpu.cfs_period_us", cpu.period or None),
        ("cpu", "cpu.cfs_quota_us", cpu.quota or None),
        ("cpu", "cpu.cfs_burst_us", cpu.burst),
        ("cpu", "cpu.idle", cpu.idle),
        ("cpuset", "cpuset.cpus", cpu.cpus or None),
        ("cpuset", "cpuset.mems", cpu.mems or None),
        ("net_cls", "net_cls.classid", limits.network_class),
    )
    found += [Setting(controller, file, str(value)) for controller, file, value in plain if value is not None]
    if limits.pids is not None:
        found.append(Setting("pids", "pids.max", _or_max(limits.pids)))
    found += _block_1(limits.block)
    found += [Setting("hugetlb", f"hugetlb.{size}.limit_in_bytes", str(limit)) for size, limit in limits.huge_pages.items()]
    found += [Setting("net_prio", "net_prio.ifpriomap", f"{name} {value}") for name, value in limits.network_priorities.items()]
    found += [Setting("rdma", "rdma.max", f"{name} {value}") for name, value in limits.rdma.items()]
    return found


def _memory_1(limits: Resources) -> Iterator[Setting]:
    memory = limits.memory
    if memory.limit:
        yield Setting("memory", "memory.limit_in_bytes", str(memory.limit))
    if memory.swap or memory.limit == -1:
        yield Setting("memory", "memory.memsw.limit_in_bytes", str(memory.swap or -1), optional=True)
    for file, value in (
        ("memory.soft_limit_in_bytes", memory.reservation or None),
        ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp or None),
        ("memory.swappiness", memory.swappiness),
        ("memory.oom_control", 1 if memory.disable_oom_killer else None),
    ):
        if value is not None:
            yield Setting("memory", file, str(value), optional=file.startswith(("memory.kmem", "memory.soft")))


def _block_1(block: BlockIo) -> Iterator[Setting]:
    if block.weight:
        yield Setting("blkio", "blkio.bfq.weight", str(block.weight), optional=True)
    for file, rates in (
        ("blkio.bfq.weight_device", block.weights),
        ("blkio.throttle.read_bps_device", block.read_bytes),
        ("blkio.throttle.write_bps_device", block.write_bytes),
        ("blkio.throttle.read_iops_device", block.read_operations),
        ("blkio.throttle.write_iops_device", block.write_operations),
    ):
        yield from (Setting("blkio", file, f"{rate.major}:{rate.minor} {rate.rate}") for rate in rates)


def version_2(limits: Resources) -> list[Setting]:
    """Files of the unified hierarchy. Raises UnsupportedError for what it cannot express."""
    found = list(_memory_2(limits))
    cpu = limits.cpu
    if cpu.realtime_runtime or cpu.realtime_period:
        raise UnsupportedError("cpu.realtimeRuntime", "control groups of version 2 have no such limit", "leave it out")
    if cpu.shares:
        found.append(Setting("cpu", "cpu.weight", str(weight_of_shares(cpu.shares))))
    if cpu.quota or cpu.period:
        found.append(Setting("cpu", "cpu.max", f"{_or_max(cpu.quota or -1)} {cpu.period or PERIOD}"))
    for file, value in (("cpu.max.burst", cpu.burst), ("cpu.idle", cpu.idle)):
        if value is not None:
            found.append(Setting("cpu", file, str(value)))
    for file, text in (("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)):
        if text:
            found.append(Setting("cpuset", file, text))
    if limits.pids is not None:
        found.append(Setting("pids", "pids.max", _or_max(limits.pids)))
    found += _block_2(limits.block)
    found += [Setting("hugetlb", f"hugetlb.{size}.max", str(limit)) for size, limit in limits.huge_pages.items()]
    found += [Setting("rdma", "rdma.max", f"{name} {value}") for name, value in limits.rdma.items()]
    found += [Setting(name.partition(".")[0], name, value) for name, value in limits.unified.items()]
    return found


def _memory_2(limits: Resources) -> Iterator[Setting]:
    memory = limits.memory
    if memory.limit:
        yield Setting("memory", "memory.max", _or_max(memory.limit))
    if memory.swap and (memory.limit or memory.swap == -1):
        only_swap = -1 if memory.swap == -1 else max(0, memory.swap - (memory.limit or 0))
        yield Setting("memory", "memory.swap.max", "max" if only_swap < 0 else str(only_swap), optional=True)
    if memory.reservation:
        yield Setting("memory", "memory.low", _or_max(memory.reservation))


def _block_2(block: BlockIo) -> Iterator[Setting]:
    if block.weight:
        yield Setting("io", "io.weight", f"default {weight_of_block(block.weight)}", optional=True)
    for rate in block.weights:
        yield Setting("io", "io.weight", f"{rate.major}:{rate.minor} {weight_of_block(rate.rate)}", optional=True)
    rates: tuple[tuple[str, tuple[DeviceRate, ...]], ...] = (
        ("rbps", block.read_bytes),
        ("wbps", block.write_bytes),
        ("riops", block.read_operations),
        ("wiops", block.write_operations),
    )
    for key, devices in rates:
        yield from (Setting("io", "io.max", f"{rate.major}:{rate.minor} {key}={_or_max(rate.rate)}") for rate in devices)


def weight_of_shares(shares: int) -> int:
    """cpu.shares 2 to 262144 as cpu.weight 1 to 10000."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def weight_of_block(weight: int) -> int:
    """blkio.weight 10 to 1000 as io.weight 1 to 10000."""
    return 1 + (min(max(weight, 10), 1000) - 10) * 9999 // 990


def _or_max(value: int) -> str:
    return str(value) if value > 0 else "max"
