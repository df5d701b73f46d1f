"""Which accesses of a straight line share a look."""

from __future__ import annotations

from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.mmu import LOAD, STORE
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.region.plans import plan
from gasang.cpus.riscv64.state import LONGEST
from support.bare import asm

A, B, C = 10, 11, 12


def looks(*code: bytes) -> list[tuple[list[int], int, int, int]]:
    """Of each look of a line: which instructions share it, the first and the last byte that it asks for, what for."""
    decoded = [rv64.decode(int.from_bytes(word, "little")) for word in code]
    line = [Step(4 * number, one) for number, one in enumerate(decoded) if one is not None]
    planned = plan(line)
    groups = {id(one.group): one.group for one in planned.values()}
    shared = {key: [place // 4 for place, one in planned.items() if one.group is group] for key, group in groups.items()}
    return [(shared[key], group.low, group.high, group.kind) for key, group in groups.items()]


def test_accesses_by_one_register() -> None:
    code = [asm("ld", rd=B, rs1=A, imm=8), asm("sb", rs1=A, rs2=B, imm=-1), asm("lw", rd=C, rs1=A)]
    assert looks(*code) == [([0, 1, 2], -1, 16, STORE)]


def test_a_register_that_is_moved_leads_to_the_same_stretch() -> None:
    code = [asm("ld", rd=B, rs1=A), asm("addi", rd=A, rs1=A, imm=64), asm("ld", rd=B, rs1=A, imm=-8), asm("ld", rd=B, rs1=A)]
    assert looks(*code) == [([0, 2, 3], 0, 72, LOAD)]


def test_so_does_a_copy_of_it() -> None:
    code = [asm("add", rd=B, rs1=0, rs2=A), asm("sd", rs1=A, rs2=C), asm("addi", rd=B, rs1=B, imm=8), asm("sd", rs1=B, rs2=C)]
    assert looks(*code) == [([1, 3], 0, 16, STORE)]


def test_what_is_written_otherwise_leads_elsewhere() -> None:
    code = [asm("ld", rd=B, rs1=A), asm("ld", rd=A, rs1=A), asm("ld", rd=B, rs1=A), asm("add", rd=A, rs1=A, rs2=A), asm("ld", rd=B, rs1=A)]
    assert looks(*code) == [([0, 1], 0, 8, LOAD), ([2], 0, 8, LOAD), ([4], 0, 8, LOAD)]


def test_a_stretch_is_bounded() -> None:
    moved = asm("addi", rd=A, rs1=A, imm=LONGEST - 8)
    code = [asm("ld", rd=B, rs1=A), moved, asm("ld", rd=B, rs1=A), moved, asm("ld", rd=B, rs1=A)]
    assert looks(*code) == [([0, 2], 0, LONGEST, LOAD), ([4], 2 * (LONGEST - 8), 2 * (LONGEST - 8) + 8, LOAD)]
