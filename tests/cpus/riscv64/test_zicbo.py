"""Cache-block instructions: what they zero, what they leave, what they may touch."""

from __future__ import annotations

import pytest

from gasang.cpus.riscv64.state import USER
from gasang.cpus.riscv64.zicbo import zicbo
from gasang.native import Fault
from support.hart import RAM_BASE, RAM_SIZE, TestHart, compiled, described

MANAGEMENT = ["cbo.inval", "cbo.clean", "cbo.flush"]


def test_every_instruction_is_tried_here() -> None:
    assert {*MANAGEMENT, "cbo.zero"} == set(described(zicbo))


@pytest.mark.parametrize("offset", [0, 63, 4096 - 1, RAM_SIZE - 64])
def test_zero_clears_the_block_and_no_more(offset: int) -> None:
    for function in (compiled(zicbo)["cbo.zero"], described(zicbo)["cbo.zero"].function.python):  # type: ignore[attr-defined]
        hart = TestHart()
        hart.bytes[:] = bytes([0xAB]) * RAM_SIZE
        hart.cpu.x[6] = RAM_BASE + offset
        function(hart.cpu, 6)
        block = offset // 64 * 64
        expected = bytearray([0xAB]) * RAM_SIZE
        expected[block : block + 64] = bytes(64)
        assert bytes(hart.bytes) == expected


@pytest.mark.parametrize("name", MANAGEMENT)
def test_management_changes_nothing(name: str) -> None:
    hart = TestHart()
    hart.bytes[:] = bytes([0xAB]) * RAM_SIZE
    hart.cpu.x[6] = RAM_BASE + 100
    before = hart.registers()
    compiled(zicbo)[name](hart.cpu, 6)
    assert bytes(hart.bytes) == bytes([0xAB]) * RAM_SIZE
    assert hart.registers() == before


@pytest.mark.parametrize("name", [*MANAGEMENT, "cbo.zero"])
def test_outside_ram_is_a_fault(name: str) -> None:
    hart = TestHart()
    hart.cpu.x[6] = RAM_BASE + RAM_SIZE
    with pytest.raises(Fault):
        compiled(zicbo)[name](hart.cpu, 6)


@pytest.mark.parametrize("name", [*MANAGEMENT, "cbo.zero"])
def test_user_mode_needs_the_supervisors_leave(name: str) -> None:
    hart = TestHart()
    hart.cpu.privilege = USER
    hart.cpu.x[6] = RAM_BASE
    with pytest.raises(Fault):
        compiled(zicbo)[name](hart.cpu, 6)
    hart.cpu.senvcfg = 0xF0
    compiled(zicbo)[name](hart.cpu, 6)


@pytest.mark.parametrize(
    ("name", "leave"), [("cbo.inval", 0x10), ("cbo.inval", 0x30), ("cbo.clean", 0x40), ("cbo.flush", 0x40), ("cbo.zero", 0x80)]
)
def test_each_has_a_leave_of_its_own(name: str, leave: int) -> None:
    hart = TestHart()
    hart.cpu.privilege = USER
    hart.cpu.x[6] = RAM_BASE
    hart.cpu.senvcfg = 0xF0 & ~(0x30 if name == "cbo.inval" else leave)
    with pytest.raises(Fault):
        compiled(zicbo)[name](hart.cpu, 6)
    hart.cpu.senvcfg = leave
    compiled(zicbo)[name](hart.cpu, 6)
