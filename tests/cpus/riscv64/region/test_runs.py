"""Loops whose passes are counted before they are begun: which can be, and that they do what they did."""

from __future__ import annotations

import pytest

from gasang.accel.soft.hart import Hart
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.plans import plan
from gasang.cpus.riscv64.region.runs import MOST_STEP, Run, runs_of
from gasang.cpus.riscv64.region.shape import form
from support.bare import CODE, Bare, asm
from support.lockstep.state import PAGE
from support.pairs import Pair, both, make_pair, paged
from support.regions import DATA, SP, Compiling

__all__ = ["make_pair"]

A, B, C, COUNT = 12, 13, 14, 6
SCATTERED = [5, 2, 7, 0, 3, 6, 1, 4]
NEXT = asm("addi", rd=A, rs1=A, imm=8)
LOAD, STORE = asm("ld", rd=11, rs1=A), asm("sd", rs1=A, rs2=5)


def around(*body: bytes) -> list[bytes]:
    """A loop of these instructions that counts x5 down."""
    return [*body, asm("addi", rd=5, rs1=5, imm=-1), asm("bne", rs1=5, rs2=0, imm=-4 * (len(body) + 1))]


def runs(*code: bytes) -> list[Run]:
    content = b"".join(code)
    executed = bytes([1, 0] * (len(content) // 4)).ljust(PAGE // 2, b"\0")
    region = form(Graph({0: CodePage(0, content.ljust(PAGE, b"\0"), executed)}), 0)
    assert region is not None
    return [*runs_of(region, {leader: plan(region.line(leader)) for leader in region.leaders}).values()]


def test_what_goes_on_by_a_known_step_is_counted() -> None:
    [run] = runs(*around(asm("lbu", rd=11, rs1=A, imm=3), NEXT, asm("sb", rs1=A, rs2=11, imm=-5), asm("ld", rd=10, rs1=SP)))
    assert {(one.register, one.step, one.low, one.high) for one in run.stretches} == {(A, 8, 3, 4), (SP, 0, 0, 8)}


def test_lines_behind_ways_out_belong_to_it() -> None:
    away = asm("beq", rs1=11, rs2=10, imm=64)
    [run] = runs(*around(asm("addi", rd=A, rs1=A, imm=-1), away, asm("lbu", rd=11, rs1=A), asm("lbu", rd=10, rs1=B, imm=2)))
    assert len(run.lines) == 2
    assert {(one.register, one.step, one.low, one.high) for one in run.stretches} == {(A, -1, -1, 0), (B, 0, 2, 3)}


def test_a_pass_is_as_long_as_its_circle_whatever_follows() -> None:
    behind = [asm("addi", rd=10, rs1=10, imm=1)] * 50
    [run] = runs(*around(LOAD, asm("beq", rs1=11, rs2=0, imm=16), NEXT), *behind)
    assert run.longest == 5


@pytest.mark.parametrize(
    "body",
    [
        [NEXT],
        [asm("ld", rd=A, rs1=A)],
        [LOAD, asm("add", rd=A, rs1=A, rs2=B)],
        [LOAD, asm("addi", rd=A, rs1=A, imm=MOST_STEP + 8)],
        [LOAD, asm("add", rd=A, rs1=0, rs2=B), asm("addi", rd=B, rs1=B, imm=8)],
        [LOAD, asm("beq", rs1=10, rs2=11, imm=8), NEXT],
        [LOAD, NEXT, asm("jal", rd=1, imm=64)],
    ],
)
def test_what_does_not_is_not(body: list[bytes]) -> None:
    assert runs(*around(*body)) == []


@pytest.mark.parametrize(
    ("body", "alone"),
    [
        ([STORE, NEXT], True),
        ([LOAD, STORE, NEXT], False),
        ([STORE, asm("sw", rs1=A, rs2=5, imm=8), asm("addi", rd=A, rs1=A, imm=12)], True),
        ([LOAD, NEXT], False),
        ([asm("sd", rs1=A, rs2=5, imm=4), STORE, asm("addi", rd=A, rs1=A, imm=16)], False),
        ([STORE, asm("addi", rd=A, rs1=A, imm=4)], False),
        ([STORE, asm("sd", rs1=B, rs2=5), NEXT], False),
        ([asm("sd", rs1=B, rs2=5), LOAD, NEXT], False),
        ([STORE, asm("fence", pred=3, succ=3), NEXT], False),
        ([STORE, asm("amoadd.w", rd=10, rs1=SP, rs2=0, aq=0, rl=0), NEXT], False),
    ],
)
def test_stores_look_together_where_each_goes_to_a_place_of_its_own(body: list[bytes], alone: bool) -> None:
    [run] = runs(*around(*body))
    assert run.is_alone is alone


def loop_over(step: int, *body: bytes) -> list[bytes]:
    """COUNT passes of `body` with x12 from SP on and x13 behind it, again and again."""
    head = [asm("add", rd=A, rs1=0, rs2=SP), asm("addi", rd=B, rs1=SP, imm=1500), asm("add", rd=5, rs1=0, rs2=COUNT)]
    code = [*head, *around(*body, asm("addi", rd=A, rs1=A, imm=step), asm("addi", rd=B, rs1=B, imm=step))]
    return [*code, asm("jal", rd=0, imm=-4 * len(code))]


BODIES = {
    "load": [LOAD, asm("add", rd=10, rs1=10, rs2=11)],
    "store": [asm("sh", rs1=B, rs2=5, imm=6)],
    "copy": [asm("lbu", rd=11, rs1=A), asm("sb", rs1=B, rs2=11)],
    "near": [asm("ld", rd=11, rs1=A), asm("sd", rs1=A, rs2=5, imm=24), asm("lw", rd=15, rs1=A, imm=40)],
    "left": [asm("lbu", rd=11, rs1=A), asm("beq", rs1=11, rs2=C, imm=36), asm("lbu", rd=15, rs1=B), asm("sb", rs1=A, rs2=15, imm=-1)],
}


@pytest.mark.parametrize("pages", [[0, 1, 2, 3, 4, 5, 6, 7], SCATTERED])
@pytest.mark.parametrize("step", [1, 3, 8, 200, -1, -24])
@pytest.mark.parametrize("body", BODIES)
def test_passes_do_what_they_did(pair: Pair, body: str, step: int, pages: list[int]) -> None:
    count = min(1200, 12_000 // abs(step))
    for bare in pair[:2]:
        bare.machine.ram.write(DATA, bytes(at * 7 % 251 for at in range(8 * PAGE)))
        paged(bare, pages)
        bare.put(CODE, *loop_over(step, *BODIES[body]), *[asm("jal", rd=0, imm=-4 * at - 28) for at in range(9)])
        bare.cpu.x[COUNT], bare.cpu.x[SP], bare.cpu.x[C] = count, DATA + 3 * PAGE + 17 + (3 * PAGE if step < 0 else -2 * PAGE), 300
        bare.cpu.watches_traps = 1
    assert both(pair, 40_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    for limit in (1, 777, 4096, 12_345):
        assert both(pair, limit) == exits.LIMIT


@pytest.mark.parametrize("step", [8, -8])
@pytest.mark.parametrize("body", ["load", "store"])
def test_the_end_of_memory_is_met_at_just_that_place(pair: Pair, body: str, step: int) -> None:
    for bare in pair[:2]:
        paged(bare, [2, 0, 1])
        bare.put(CODE, *loop_over(step, *BODIES[body]))
        bare.cpu.x[COUNT], bare.cpu.x[SP] = 100, DATA + PAGE + 8
        bare.cpu.watches_traps = 1
    assert both(pair, 40_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    for bare in pair[:2]:
        bare.cpu.x[COUNT] = 10_000
    assert both(pair, 100_000) == exits.TRAP
    assert not DATA <= pair[1].trap()[2] < DATA + 3 * PAGE


@pytest.mark.parametrize(("place", "failed"), [(8 * 512, 1), (8 * 2100, 0)])
def test_another_hart_loses_its_reservation_to_a_pass(place: int, failed: int) -> None:
    bare = Bare(2)
    compiling, other = Compiling(bare), bare.machine.harts[1]
    bare.put(CODE, *loop_over(8, STORE))
    bare.put(CODE + 0x3000, asm("lr.d", rd=11, rs1=SP), asm("sc.d", rd=10, rs1=SP, rs2=0))
    bare.cpu.x[COUNT], bare.cpu.x[SP] = 2000, DATA
    compiling.run(40_000)
    assert compiling.regions.statistics.placed > 0
    reserve(bare, other, DATA + place)
    before = bare.cpu.compiled
    compiling.run(15_000)
    assert bare.cpu.compiled > before
    assert bare.run(1, other) == exits.LIMIT
    assert other.cpu.x[10] == failed
    assert bare.machine.shared.reservations == 0
    bare.close()


def reserve(bare: Bare, other: Hart, address: int) -> None:
    other.cpu.x[SP], other.cpu.pc, other.cpu.hot_after = address, CODE + 0x3000, 0
    assert bare.run(1, other) == exits.LIMIT
    assert bare.machine.shared.reservations == sum(bare.machine.reservations) == 1
