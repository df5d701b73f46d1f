"""Which registers are put away where, for small loops; that nothing is lost by it, test_code.py finds with random programs."""

from __future__ import annotations

from gasang.cpus.riscv64.region.homes import Homes, names
from gasang.cpus.riscv64.region.pages import FIRST_FLOAT, CodePage, Graph
from gasang.cpus.riscv64.region.shape import form
from gasang.cpus.riscv64.state import PAGE_SIZE
from support.bare import asm

COUNT = asm("addi", rd=5, rs1=5, imm=1)
TEMPORARY = asm("slli", rd=7, rs1=5, imm=3)
SUM = asm("add", rd=10, rs1=10, rs2=7)


def again(distance: int) -> bytes:
    return asm("bne", rs1=5, rs2=6, imm=distance)


def homes(*parts: bytes, hot: int = 0) -> Homes:
    code = b"".join(parts)
    executed = bytes([1, 0] * (len(code) // 4)).ljust(PAGE_SIZE // 2, b"\0")
    region = form(Graph({0: CodePage(0, code.ljust(PAGE_SIZE, b"\0"), executed)}), hot)
    assert region is not None
    return Homes(region)


def test_a_temporary_is_put_away_where_it_is_written_last_and_counters_stay() -> None:
    found = homes(TEMPORARY, TEMPORARY, SUM, COUNT, again(-16))
    assert list(names(found.written)) == ["x5", "x7", "x10"]
    assert list(names(found.away(0))) == ["x7"]
    assert list(names(found.early(0))) == ["x7"]
    assert list(names(found.stored(0) & found.written)) == ["x7"]


def test_what_an_inner_loop_carries_is_put_away_behind_it() -> None:
    inner, outer = again(-4), asm("bne", rs1=10, rs2=6, imm=-16)
    found = homes(asm("addi", rd=5, rs1=0), COUNT, inner, asm("addi", rd=10, rs1=10, imm=1), outer)
    assert list(names(found.away(0))) == ["x5"]
    assert found.away(4) == found.early(4) == 0
    assert list(names(found.stored(0) & found.written)) == ["x5"]
    assert found.stored(4) & found.written == 0


def test_a_value_that_only_some_ways_put_away_is_not_taken_for_stored() -> None:
    skip = asm("beq", rs1=10, rs2=0, imm=8)
    found = homes(skip, TEMPORARY, SUM, COUNT, again(-16))
    assert not found.stored(8) & 1 << 10
    assert found.away(8) == 0


def test_floating_point_registers_are_a_set_of_their_own() -> None:
    found = homes(asm("fadd.d", fd=5, fs1=6, fs2=6), COUNT, again(-8))
    assert found.written == 1 << 5 | 1 << FIRST_FLOAT + 5
    assert list(names(found.away(0))) == ["f5"]
