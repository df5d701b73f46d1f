"""Which devices a control group may use: rules as text for version 1, as a BPF program for version 2.

The rules of a configuration are read in order, later ones win; those every container needs come last.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

from gasang.host.syscalls import number
from gasang.kinds.container.config.resources import DeviceRule

NEEDED: Final = (
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    *(DeviceRule(True, "c", major, minor) for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))),
    DeviceRule(True, "c", 136, None),
)
"""Making any node, null, zero, full, random, urandom, tty, ptmx, and terminals."""

_ACCESS: Final = {"m": 1, "r": 2, "w": 4}
_KIND: Final = {"b": 1, "c": 2}
_BPF_PROG_LOAD: Final = 5
_BPF_PROG_ATTACH: Final = 8
_BPF_PROG_TYPE_CGROUP_DEVICE: Final = 15
_BPF_CGROUP_DEVICE: Final = 6
_BPF_F_ALLOW_MULTI: Final = 2
_INSTRUCTION: Final = struct.Struct("<BBhi")
_LOAD: Final = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE: Final = 0xBC  # 32-bit register
_MOVE_NUMBER: Final = 0xB7
_AND: Final = 0x54
_SHIFT_RIGHT: Final = 0x74
_JUMP_NOT_EQUAL: Final = 0x56  # BPF_JMP32 | BPF_JNE | BPF_K
_EXIT: Final = 0x95


def rule_text(rule: DeviceRule) -> str:
    """A rule as devices.allow and devices.deny take it."""
    major = "*" if rule.major is None else rule.major
    minor = "*" if rule.minor is None else rule.minor
    return "a" if rule.kind == "a" and rule.major is None and rule.minor is None else f"{rule.kind} {major}:{minor} {rule.access}"


def all_rules(rules: Iterable[DeviceRule]) -> list[DeviceRule]:
    """A configuration's rules and those needed, from the last one that is about every device on."""
    found = [*rules, *NEEDED]
    for index in range(len(found) - 1, -1, -1):
        if rule_text(found[index]) == "a":
            return found[index:]
    return found


def device_program(rules: Iterable[DeviceRule]) -> bytes:
    """BPF_PROG_TYPE_CGROUP_DEVICE: 1 for allowed, 0 for not (include/uapi/linux/bpf.h, struct bpf_cgroup_dev_ctx).

    An access of several ways at once is allowed if a rule covers them all; a refusing rule refuses what it has any of.
    """
    code = [
        _INSTRUCTION.pack(_LOAD, 2 | 1 << 4, 0, 0),  # r2 = access << 16 | kind
        _INSTRUCTION.pack(_MOVE, 3 | 2 << 4, 0, 0),
        _INSTRUCTION.pack(_SHIFT_RIGHT, 3, 0, 16),  # r3 = access
        _INSTRUCTION.pack(_AND, 2, 0, 0xFFFF),  # r2 = kind
        _INSTRUCTION.pack(_LOAD, 4 | 1 << 4, 4, 0),  # r4 = major
        _INSTRUCTION.pack(_LOAD, 5 | 1 << 4, 8, 0),  # r5 = minor
    ]
    ordered = all_rules(rules)
    default = False
    if ordered and rule_text(ordered[0]) == "a":
        default = ordered.pop(0).allow
    for rule in reversed(ordered):
        code += _rule_code(rule)
    code += _result(default)
    return b"".join(code)


def _rule_code(rule: DeviceRule) -> list[bytes]:
    tests: list[tuple[int, int]] = []
    if rule.kind in _KIND:
        tests.append((2, _KIND[rule.kind]))
    if rule.major is not None:
        tests.append((4, rule.major))
    if rule.minor is not None:
        tests.append((5, rule.minor))
    mask = sum(_ACCESS[letter] for letter in set(rule.access))
    body: list[bytes] = []
    if mask != 7:
        body += [_INSTRUCTION.pack(_MOVE, 1 | 3 << 4, 0, 0)]
        if rule.allow:  # nothing may be asked for beyond the rule
            body += [_INSTRUCTION.pack(_AND, 1, 0, ~mask & 7), _INSTRUCTION.pack(_JUMP_NOT_EQUAL, 1, 2, 0)]
        else:
            body += [_INSTRUCTION.pack(_AND, 1, 0, mask), _INSTRUCTION.pack(0x16, 1, 2, 0)]  # BPF_JEQ: nothing refused is asked for
    body += _result(rule.allow)
    after = len(body)
    lines = []
    for index, (register, value) in enumerate(tests):
        lines.append(_INSTRUCTION.pack(_JUMP_NOT_EQUAL, register, len(tests) - 1 - index + after, _signed(value)))
    return [*lines, *body]


def _result(allow: bool) -> list[bytes]:
    return [_INSTRUCTION.pack(_MOVE_NUMBER, 0, 0, int(allow)), _INSTRUCTION.pack(_EXIT, 0, 0, 0)]


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def attach_device_program(folder: str, rules: Iterable[DeviceRule]) -> None:
    """Have the kernel ask this program for each use of a device in a group of version 2; raise OSError if it does not let us."""
    code = device_program(rules)
    license_text = b"Apache-2.0\0"
    code_at, license_at = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(license_text)
    load = struct.pack(
        "<IIQQIIQII16sII",
        _BPF_PROG_TYPE_CGROUP_DEVICE, len(code) // 8, ctypes.addressof(code_at), ctypes.addressof(license_at), 0, 0, 0, 0, 0,
        b"gasang_devices"[:15], 0, _BPF_CGROUP_DEVICE,
    )  # fmt: skip
    program = _bpf(_BPF_PROG_LOAD, load)
    try:
        group = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(_BPF_PROG_ATTACH, struct.pack("<IIII", group, program, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI))
        finally:
            os.close(group)
    finally:
        os.close(program)


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(ctypes.c_long(number("bpf")), ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
