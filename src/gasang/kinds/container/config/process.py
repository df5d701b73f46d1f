"""The `process` of a configuration: what runs, as whom, and what it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gasang.host.processes import CAPABILITIES, RLIMITS
from gasang.kinds.container.config.node import I64, U32, U64, Node

SETS: Final = ("bounding", "effective", "inheritable", "permitted", "ambient")
_BITS: Final = {f"CAP_{name}": 1 << number for number, name in enumerate(CAPABILITIES)}
SCHEDULERS: Final = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
SCHEDULER_FLAGS: Final = {
    "SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4, "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16, "SCHED_FLAG_UTIL_CLAMP_MIN": 32, "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}  # fmt: skip
IO_CLASSES: Final = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


@dataclass(frozen=True)
class User:
    """Who the program runs as, in the container's numbering."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    umask: int | None = None


@dataclass(frozen=True)
class Capabilities:
    """Five sets as masks, bit n being capability n; `unknown` are names this build does not know."""

    bounding: int = 0
    effective: int = 0
    inheritable: int = 0
    permitted: int = 0
    ambient: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rlimit:
    """A limit by number; values are the kernel's, all ones for none."""

    name: str
    kind: int
    soft: int
    hard: int


@dataclass(frozen=True)
class Scheduler:
    """struct sched_attr's fields."""

    policy: int
    nice: int
    priority: int
    flags: int
    runtime: int
    deadline: int
    period: int


@dataclass(frozen=True)
class Process:
    """A program to run in a container."""

    args: tuple[str, ...]
    cwd: str = "/"
    env: tuple[str, ...] = ()
    user: User = User()
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    capabilities: Capabilities = Capabilities()
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor: str = ""
    selinux: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: int | None = None


def read_process(node: Node) -> Process:
    """A checked process. Raises BadInputError."""
    args = node["args"].texts()
    if not args or not args[0]:
        node["args"].refuse("has no program to run")
    size = node["consoleSize"]
    terminal = node["terminal"].flag()
    return Process(
        args,
        node["cwd"].absolute(),
        node["env"].each(_variable),
        _read_user(node["user"]),
        terminal,
        (size["height"].number(0, 65535), size["width"].number(0, 65535)) if size.here() and terminal else None,
        read_capabilities(node["capabilities"]),
        _read_rlimits(node["rlimits"]),
        node["noNewPrivileges"].flag(),
        node["apparmorProfile"].text(""),
        node["selinuxLabel"].text(""),
        node["oomScoreAdj"].optional(-1000, 1000),
        _read_scheduler(node["scheduler"]),
        _read_io_priority(node["ioPriority"]),
    )


def _variable(node: Node) -> str:
    return node.text()


def _read_user(node: Node) -> User:
    return User(
        node["uid"].number(0, U32 - 1, 0),
        node["gid"].number(0, U32 - 1, 0),
        node["additionalGids"].each(lambda group: group.number(0, U32 - 1)),
        node["umask"].optional(0, 0o777),
    )


def read_capabilities(node: Node) -> Capabilities:
    """Names to masks."""
    unknown: set[str] = set()
    masks: dict[str, int] = {}
    for name in SETS:
        mask = 0
        for word in node[name].texts():
            bit = _BITS.get(word.upper())
            if bit is None:
                unknown.add(word)
            else:
                mask |= bit
        masks[name] = mask
    return Capabilities(**masks, unknown=tuple(sorted(unknown)))


def _read_rlimits(node: Node) -> tuple[Rlimit, ...]:
    found: dict[str, Rlimit] = {}
    for item in node.items():
        name = item["type"].text()
        kind = item["type"].choice(RLIMITS)
        if name in found:
            item["type"].refuse(f"{name} is there twice")
        soft, hard = item["soft"].number(0, U64), item["hard"].number(0, U64)
        if soft > hard:
            item.refuse(f"{name}: the soft limit {soft} is above the hard limit {hard}")
        found[name] = Rlimit(name, kind, soft, hard)
    return tuple(found.values())


def _read_scheduler(node: Node) -> Scheduler | None:
    if not node.here():
        return None
    flags = 0
    for flag in node["flags"].items():
        flags |= flag.choice(SCHEDULER_FLAGS)
    return Scheduler(
        node["policy"].choice(SCHEDULERS),
        node["nice"].number(-20, 19, 0),
        node["priority"].number(0, 99, 0),
        flags,
        node["runtime"].number(0, I64, 0),
        node["deadline"].number(0, I64, 0),
        node["period"].number(0, I64, 0),
    )


def _read_io_priority(node: Node) -> int | None:
    if not node.here():
        return None
    return node["class"].choice(IO_CLASSES) << 13 | node["priority"].number(0, 7, 0)
