"""The `linux.resources` of a configuration: limits that control groups keep. None is "leave it as it is"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gasang.kinds.container.config.node import I64, U32, U64, Node


@dataclass(frozen=True)
class Memory:
    """Bytes; -1 is no limit. `swap` is memory and swap together."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool = False
    check_before_update: bool = False


@dataclass(frozen=True)
class Cpu:
    """Shares are relative to 1024; quota, burst and period are microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@dataclass(frozen=True)
class DeviceRate:
    """A number for one block device."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True)
class BlockIo:
    """Weights 10 to 1000, and rates a second: bytes or operations."""

    weight: int | None = None
    weights: tuple[DeviceRate, ...] = ()
    read_bytes: tuple[DeviceRate, ...] = ()
    write_bytes: tuple[DeviceRate, ...] = ()
    read_operations: tuple[DeviceRate, ...] = ()
    write_operations: tuple[DeviceRate, ...] = ()


@dataclass(frozen=True)
class DeviceRule:
    """Whether devices of a type ("a", "b", "c") and number (None: any) may be used in the ways of `access` (r, w, m)."""

    allow: bool
    kind: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


@dataclass(frozen=True)
class Resources:
    """All limits of a container."""

    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    pids: int | None = None
    block: BlockIo = BlockIo()
    devices: tuple[DeviceRule, ...] = ()
    huge_pages: Mapping[str, int] = field(default_factory=dict)
    network_class: int | None = None
    network_priorities: Mapping[str, int] = field(default_factory=dict)
    rdma: Mapping[str, str] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


_DEVICE_KINDS: Final = {"a": "a", "b": "b", "c": "c", "u": "c", "": "a"}
_LIST_SIGNS: Final = frozenset("0123456789,-")


def read_resources(node: Node) -> Resources:
    """Checked limits. Raises BadInputError."""
    return Resources(
        _read_memory(node["memory"]),
        _read_cpu(node["cpu"]),
        node["pids"]["limit"].optional(-1, I64),
        _read_block(node["blockIO"]),
        node["devices"].each(_read_rule),
        {_file_name(item["pageSize"]): item["limit"].number(0, U64) for item in node["hugepageLimits"].items()},
        node["network"]["classID"].optional(0, U32),
        {_file_name(item["name"]): item["priority"].number(0, U32) for item in node["network"]["priorities"].items()},
        _read_rdma(node["rdma"]),
        {_file_name(node["unified"], name): value for name, value in node["unified"].mapping().items()},
    )


def _file_name(node: Node, name: str | None = None) -> str:
    """A name that becomes part of a file's: without a slash."""
    text = node.text() if name is None else name
    if not text or "/" in text or text.startswith(".") or any(sign.isspace() for sign in text):
        node.refuse(f"{text!r} is no name of a limit")
    return text


def _read_memory(node: Node) -> Memory:
    return Memory(
        node["limit"].optional(-1, I64),
        node["reservation"].optional(-1, I64),
        node["swap"].optional(-1, I64),
        node["kernelTCP"].optional(-1, I64),
        node["swappiness"].optional(0, 100),
        node["disableOOMKiller"].flag(),
        node["checkBeforeUpdate"].flag(),
    )


def _read_cpu(node: Node) -> Cpu:
    return Cpu(
        node["shares"].optional(0, U64),
        node["quota"].optional(-1, I64),
        node["burst"].optional(0, U64),
        node["period"].optional(0, U64),
        node["realtimeRuntime"].optional(-1, I64),
        node["realtimePeriod"].optional(0, U64),
        _cpu_list(node["cpus"]),
        _cpu_list(node["mems"]),
        node["idle"].optional(0, 1),
    )


def _cpu_list(node: Node) -> str:
    text = node.text("")
    if not set(text) <= _LIST_SIGNS:
        node.refuse(f"{text!r} is no list of numbers like 0-3,7")
    return text


def _rates(node: Node, member: str) -> tuple[DeviceRate, ...]:
    return node.each(lambda item: DeviceRate(item["major"].number(0, U32), item["minor"].number(0, U32), item[member].number(0, U64)))


def _read_block(node: Node) -> BlockIo:
    return BlockIo(
        node["weight"].optional(0, 1000),
        _rates(node["weightDevice"], "weight"),
        _rates(node["throttleReadBpsDevice"], "rate"),
        _rates(node["throttleWriteBpsDevice"], "rate"),
        _rates(node["throttleReadIOPSDevice"], "rate"),
        _rates(node["throttleWriteIOPSDevice"], "rate"),
    )


def _read_rule(node: Node) -> DeviceRule:
    access = node["access"].text("rwm") or "rwm"
    if not set(access) <= set("rwm"):
        node["access"].refuse(f"{access!r} is none of r, w and m")
    major, minor = node["major"].optional(-1, U32), node["minor"].optional(-1, U32)
    return DeviceRule(
        node["allow"].flag(),
        node["type"].choice(_DEVICE_KINDS, "a"),
        None if major in (None, -1) else major,
        None if minor in (None, -1) else minor,
        access,
    )


def _read_rdma(node: Node) -> dict[str, str]:
    if not node.here():
        return {}
    found = {}
    for name in node.value if isinstance(node.value, dict) else node.refuse("must be an object"):
        limits = node[name]
        handles, objects = limits["hcaHandles"].optional(0, U32), limits["hcaObjects"].optional(0, U32)
        parts = [f"{key}={value}" for key, value in (("hca_handle", handles), ("hca_object", objects)) if value is not None]
        found[_file_name(node, name)] = " ".join(parts)
    return found
