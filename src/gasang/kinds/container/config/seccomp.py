"""The `linux.seccomp` of a configuration: rules on system calls, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gasang.kinds.container.config.node import U32, U64, Node

ACTIONS: Final = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
"""Name → SECCOMP_RET_… of seccomp(2); the lower sixteen bits carry a number for ERRNO and TRACE."""
WITH_NUMBER: Final = frozenset({ACTIONS["SCMP_ACT_ERRNO"], ACTIONS["SCMP_ACT_TRACE"]})
NOTIFY: Final = ACTIONS["SCMP_ACT_NOTIFY"]
OPERATORS: Final = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_OPERATORS: Final = {f"SCMP_CMP_{name}": name for name in OPERATORS}
ARCHITECTURES: Final = {
    "SCMP_ARCH_X86": "x86", "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X32": "x32", "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_RISCV64": "riscv64",
}  # fmt: skip
OTHER_ARCHITECTURES: Final = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "ARM", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC",
        "PARISC64", "LOONGARCH64", "M68K", "SH", "SHEB",
    )
)  # fmt: skip
"""Known to the specification; a filter needs no rules for them on the machines we run on."""
FLAGS: Final = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}  # fmt: skip
_EPERM: Final = 1


@dataclass(frozen=True)
class Condition:
    """A test of one argument; MASKED_EQ is (argument & value) == second."""

    index: int
    operator: str
    value: int
    second: int = 0


@dataclass(frozen=True)
class Rule:
    """What happens to some system calls, if all conditions hold."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Seccomp:
    """A filter. Actions are SECCOMP_RET_ values."""

    default: int
    architectures: tuple[str, ...] = ()
    flags: int = 0
    rules: tuple[Rule, ...] = ()
    listener: str = ""
    listener_metadata: str = ""


def read_seccomp(node: Node) -> Seccomp | None:
    """A checked filter, None where there is none. Raises BadInputError."""
    if not node.here():
        return None
    flags = 0
    for flag in node["flags"].items():
        flags |= flag.choice(FLAGS)
    listener = node["listenerPath"].text("")
    found = Seccomp(
        _action(node, "defaultAction", "defaultErrnoRet"),
        tuple(name for name in node["architectures"].each(_architecture) if name),
        flags,
        node["syscalls"].each(_read_rule),
        listener,
        node["listenerMetadata"].text(""),
    )
    notifies = [rule for rule in found.rules if rule.action == NOTIFY]
    if found.default == NOTIFY:
        node["defaultAction"].refuse("cannot be SCMP_ACT_NOTIFY", "the runtime itself could not go on")
    if notifies and not listener:
        node["listenerPath"].refuse("is missing, and SCMP_ACT_NOTIFY needs it")
    if any("write" in rule.names for rule in notifies):
        node["syscalls"].refuse("cannot notify of write", "the runtime itself needs it to hand the listener over")
    return found


def _architecture(node: Node) -> str:
    name = node.text()
    if name in OTHER_ARCHITECTURES:
        return ""
    return node.choice(ARCHITECTURES)


def _action(node: Node, name: str, number: str) -> int:
    action = node[name].choice(ACTIONS)
    given = node[number].optional(0, U32)
    if given is not None and action not in WITH_NUMBER:
        node[number].refuse("goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE only")
    if action not in WITH_NUMBER:
        return action
    return action | (_EPERM if given is None else min(given, 0xFFFF))


def _read_rule(node: Node) -> Rule:
    names = node["names"].each(lambda name: name.text(empty=False))
    if not names:
        node["names"].refuse("is empty")
    return Rule(names, _action(node, "action", "errnoRet"), node["args"].each(_read_condition))


def _read_condition(node: Node) -> Condition:
    return Condition(
        node["index"].number(0, 5), node["op"].choice(_OPERATORS), node["value"].number(0, U64), node["valueTwo"].number(0, U64, 0)
    )
