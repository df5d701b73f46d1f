"""From a Seccomp to the classic BPF program that seccomp(2) takes.

The kernel runs the program at each system call (and once for every number when it is installed, to remember those that are always
allowed), so the way to a decision is short: the architecture, then a binary search among ranges of numbers that are treated alike, then the
conditions on arguments, if there are any. All of it is a pure function; programs are remembered, for many containers share one filter.

Several rules for one system call: those with conditions are tried first, in their order, then the first without. Numbers above all that the
rules name give ENOSYS rather than the default refusal: a program asking for a call newer than the rules then falls back to an older one.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from gasang.core.errors import UnsupportedError
from gasang.host.syscalls import X32_BIT, table
from gasang.kinds.container.config.seccomp import ACTIONS, Condition, Rule, Seccomp

LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP: Final = 0x05
IF_EQUAL: Final = 0x15
IF_GREATER: Final = 0x25
IF_NOT_LESS: Final = 0x35
AND: Final = 0x54
RETURN: Final = 0x06
FARTHEST: Final = 255
MOST: Final = 4096
NUMBER_AT: Final = 0
ARCHITECTURE_AT: Final = 4
ARGUMENTS_AT: Final = 16

AUDIT: Final = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
"""AUDIT_ARCH_…; x32 shares x86_64's and differs by a bit in the number."""
KILL: Final = ACTIONS["SCMP_ACT_KILL_PROCESS"]
ENOSYS: Final = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
PASSING: Final = frozenset({ACTIONS["SCMP_ACT_ALLOW"], ACTIONS["SCMP_ACT_LOG"], ACTIONS["SCMP_ACT_TRACE"]})

Instruction = tuple[int, int, int, int]
Code = list[Instruction]
Leaf = tuple[tuple[tuple[tuple[Condition, ...], int], ...], int]
"""What happens to a system call: (conditions, action) to try, and the action otherwise."""


@lru_cache(maxsize=64)
def compile_filter(filter_: Seccomp, machine: str) -> bytes:
    """The program, an array of struct sock_filter, for a host of that `uname -m`. Raises UnsupportedError if it is too long."""
    architectures = [machine, *(name for name in filter_.architectures if name != machine)]
    parts: list[tuple[int, Code]] = []
    for name in architectures:
        if name in AUDIT and all(AUDIT[name] != known for known, _ in parts):
            parts.append((AUDIT[name], _numbers(filter_, name, x32="x32" in architectures and name == "x86_64")))
    code: Code = [(RETURN, 0, 0, KILL)]
    for audit, body in reversed(parts):
        # Past this architecture's part if it is another one.
        code = [(IF_EQUAL, 1, 0, audit), (JUMP, 0, 0, len(body)), *body, *code]
    code = [(LOAD, 0, 0, ARCHITECTURE_AT), *code]
    if len(code) > MOST:
        raise UnsupportedError("seccomp filter", f"it needs {len(code)} instructions, the kernel takes {MOST}", "use fewer conditions")
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _numbers(filter_: Seccomp, architecture: str, *, x32: bool) -> Code:
    """The part of one architecture: load the number, search it."""
    ranges = _ranges(leaves(filter_, architecture), filter_.default)
    body = _search(ranges)
    if architecture == "x86_64":
        wide = _search(_ranges(leaves(filter_, "x32"), filter_.default)) if x32 else [(RETURN, 0, 0, KILL)]
        body = [(IF_NOT_LESS, 0, 1, X32_BIT), (JUMP, 0, 0, len(body)), *body, *wide]
    return [(LOAD, 0, 0, NUMBER_AT), *body]


def leaves(filter_: Seccomp, architecture: str) -> dict[int, Leaf]:
    """Number → what happens; names that the architecture does not have are passed over."""
    numbers = table(architecture)
    conditional: dict[int, list[tuple[tuple[Condition, ...], int]]] = {}
    plain: dict[int, int] = {}
    for rule in filter_.rules:
        for name in rule.names:
            number = numbers.get(name)
            if number is None:
                continue
            if rule.conditions:
                conditional.setdefault(number, []).extend((conditions, rule.action) for conditions in _alternatives(rule))
            else:
                plain.setdefault(number, rule.action)
    return {
        number: (tuple(conditional.get(number, ())), plain.get(number, filter_.default)) for number in sorted({*conditional, *plain})
    }


def _alternatives(rule: Rule) -> Iterable[tuple[Condition, ...]]:
    """All conditions must hold; but several on one argument are alternatives, as other runtimes have it."""
    indexes = [condition.index for condition in rule.conditions]
    if len(set(indexes)) == len(indexes):
        return [rule.conditions]
    return [(condition,) for condition in rule.conditions]


def _ranges(found: dict[int, Leaf], default: int) -> list[tuple[int, Leaf]]:
    """(first number, what happens from there on), ascending, neighbours being different."""
    otherwise: Leaf = ((), default)
    ranges: list[tuple[int, Leaf]] = []
    following = 0
    for number, leaf in found.items():
        if number > following or not ranges:
            _append(ranges, following, otherwise if number > following else leaf)
        _append(ranges, number, leaf)
        following = number + 1
    _append(ranges, following, otherwise if default in PASSING or not found else ((), ENOSYS))
    return ranges


def _append(ranges: list[tuple[int, Leaf]], first: int, leaf: Leaf) -> None:
    if not ranges or ranges[-1][1] != leaf:
        ranges.append((first, leaf))


def _search(ranges: list[tuple[int, Leaf]]) -> Code:
    """Binary search; the number is in the accumulator."""
    if len(ranges) == 1:
        return _decide(ranges[0][1])
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    if len(low) <= FARTHEST:
        return [(IF_NOT_LESS, len(low), 0, ranges[middle][0]), *low, *high]
    return [(IF_NOT_LESS, 0, 1, ranges[middle][0]), (JUMP, 0, 0, len(low)), *low, *high]


def _decide(leaf: Leaf) -> Code:
    """The conditions one set after another, then the action without."""
    code: Code = []
    for conditions, action in leaf[0]:
        block: Code = [(RETURN, 0, 0, action)]
        for condition in reversed(conditions):
            block = _test(condition, len(block)) + block
        code += block
    return [*code, (RETURN, 0, 0, leaf[1])]


def _test(condition: Condition, rest: int) -> Code:
    """Go on if the condition holds, else past `rest` more instructions. Arguments have 64 bits, the accumulator 32: high half first."""
    low_at = ARGUMENTS_AT + 8 * condition.index
    high, low = condition.value >> 32, condition.value & 0xFFFFFFFF
    load_high, load_low = (LOAD, 0, 0, low_at + 4), (LOAD, 0, 0, low_at)
    match condition.operator:
        case "EQ":
            return [load_high, (IF_EQUAL, 0, rest + 2, high), load_low, (IF_EQUAL, 0, rest, low)]
        case "NE":
            return [load_high, (IF_EQUAL, 0, 2, high), load_low, (IF_EQUAL, rest, 0, low)]
        case "GT":
            return [load_high, (IF_GREATER, 3, 0, high), (IF_EQUAL, 0, rest + 2, high), load_low, (IF_GREATER, 0, rest, low)]
        case "GE":
            return [load_high, (IF_GREATER, 3, 0, high), (IF_EQUAL, 0, rest + 2, high), load_low, (IF_NOT_LESS, 0, rest, low)]
        case "LT":
            return [load_high, (IF_GREATER, rest + 3, 0, high), (IF_EQUAL, 0, 2, high), load_low, (IF_NOT_LESS, rest, 0, low)]
        case "LE":
            return [load_high, (IF_GREATER, rest + 3, 0, high), (IF_EQUAL, 0, 2, high), load_low, (IF_GREATER, rest, 0, low)]
    wanted = condition.second & condition.value
    return [
        load_high, (AND, 0, 0, high), (IF_EQUAL, 0, rest + 3, wanted >> 32),
        load_low, (AND, 0, 0, low), (IF_EQUAL, 0, rest, wanted & 0xFFFFFFFF),
    ]  # fmt: skip


def evaluate(program: bytes, architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """What a program answers: the kernel's machine in Python, for those who want to look before they install."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == RETURN:
            return int(value)
        if operation == LOAD:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == AND:
            accumulator &= value
        elif operation == JUMP:
            at += value
        else:
            holds = {IF_EQUAL: accumulator == value, IF_GREATER: accumulator > value, IF_NOT_LESS: accumulator >= value}[operation]
            at += true if holds else false
