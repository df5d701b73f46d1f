"""Rules on devices, as text and as a program; the program is run here by a small machine that knows its instructions."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.kinds.container.cgroups.devices import NEEDED, all_rules, attach_device_program, device_program, rule_text
from gasang.kinds.container.cgroups.hierarchies import find_hierarchies
from gasang.kinds.container.config.resources import DeviceRule
from support.privileges import needs_root

DENY_ALL = DeviceRule(False)


def run(program: bytes, kind: int, major: int, minor: int, access: int) -> bool:
    """The answer of a program (BPF instruction set, RFC 9669)."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    registers = [0] * 11
    at = 0
    while True:
        operation, pair, offset, value = code[at]
        target, source = pair & 15, pair >> 4
        at += 1
        if operation == 0x61:
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif operation == 0xBC:
            registers[target] = registers[source] & 0xFFFFFFFF
        elif operation == 0xB7:
            registers[target] = value
        elif operation == 0x54:
            registers[target] &= value & 0xFFFFFFFF
        elif operation == 0x74:
            registers[target] >>= value
        elif operation == 0x56:
            at += offset if registers[target] != value & 0xFFFFFFFF else 0
        elif operation == 0x16:
            at += offset if registers[target] == value & 0xFFFFFFFF else 0
        else:
            assert operation == 0x95
            return bool(registers[0])


def expected(rules: list[DeviceRule], kind: str, major: int, minor: int, access: str) -> bool:
    """The last rule that fits decides; one that allows must cover all that is asked for, one that refuses any of it."""
    for rule in reversed([*rules, *NEEDED]):
        same = rule.kind in ("a", kind) and rule.major in (None, major) and rule.minor in (None, minor)
        if same and (set(access) <= set(rule.access) if rule.allow else set(access) & set(rule.access)):
            return rule.allow
    return False


DEVICE_NUMBERS = st.sampled_from([None, 0, 1, 5, 8, 136, (1 << 32) - 1])
WAYS = st.sampled_from(["r", "w", "m", "rw", "rm", "rwm"])
RULES = st.lists(st.builds(DeviceRule, st.booleans(), st.sampled_from("abc"), DEVICE_NUMBERS, DEVICE_NUMBERS, WAYS), max_size=6)
MAJORS, MINORS = st.sampled_from([0, 1, 5, 8, 136]), st.sampled_from([0, 1, 3, 5])


@given(RULES, st.sampled_from("bc"), MAJORS, MINORS, WAYS)
def test_the_program_answers_as_the_rules_say(rules: list[DeviceRule], kind: str, major: int, minor: int, access: str) -> None:
    mask = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    assert run(device_program(rules), {"b": 1, "c": 2}[kind], major, minor, mask) == expected(rules, kind, major, minor, access)


def test_rules_as_text() -> None:
    assert rule_text(DENY_ALL) == "a"
    assert rule_text(DeviceRule(True, "c", 1, None, "rw")) == "c 1:* rw"


def test_what_stands_before_a_rule_on_everything_does_not_matter() -> None:
    first = DeviceRule(True, "b", 8, 0)
    assert all_rules([first, DENY_ALL])[0] == DENY_ALL
    assert all_rules([DENY_ALL, first])[:2] == [DENY_ALL, first]


@needs_root
def test_the_kernel_takes_the_program() -> None:
    unified = find_hierarchies().unified
    if unified is None:
        pytest.skip("needs control groups of version 2")
    folder = Path(unified.folder) / f"test-{os.getpid()}"
    folder.mkdir()
    try:
        attach_device_program(str(folder), [DENY_ALL, DeviceRule(True, "b", (1 << 32) - 1, 0, "r")])
        child = os.fork()
        if child == 0:
            (folder / "cgroup.procs").write_text("0")
            try:
                os.open("/dev/null", os.O_RDWR)
                os.mknod(f"/tmp/{folder.name}", 0o60600, os.makedev(254, 0))
                os.open(f"/tmp/{folder.name}", os.O_RDONLY)
            except PermissionError:
                os._exit(5)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    finally:
        Path(f"/tmp/{folder.name}").unlink(missing_ok=True)
        folder.rmdir()
