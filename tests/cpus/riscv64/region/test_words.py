"""Which registers of small loops are kept as words, which are not needed where they are left, and which can be had anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.region.ahead import heads_ahead
from gasang.cpus.riscv64.region.anew import behind_lines
from gasang.cpus.riscv64.region.circles import circles_around
from gasang.cpus.riscv64.region.homes import Homes, names
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.shape import Region, form
from gasang.cpus.riscv64.region.words import Words
from gasang.cpus.riscv64.state import PAGE_SIZE
from support.bare import CODE, Bare, asm
from support.regions import DATA, Compiling, everything, prepare

ROTATED = [asm("slliw", rd=7, rs1=5, imm=26), asm("srliw", rd=8, rs1=5, imm=6), asm("or", rd=9, rs1=7, rs2=8)]
SUM = asm("addw", rd=10, rs1=10, rs2=9)
LOAD = asm("lw", rd=11, rs1=12, imm=4)
NEXT = [asm("addi", rd=12, rs1=12, imm=4), asm("addiw", rd=5, rs1=5, imm=1)]


def again(distance: int) -> bytes:
    return asm("bne", rs1=5, rs2=6, imm=-distance)


def region_of(*code: bytes) -> Region:
    content = b"".join(code)
    executed = bytes([1, 0] * (len(content) // 4)).ljust(PAGE_SIZE // 2, b"\0")
    region = form(Graph({0: CodePage(0, content.ljust(PAGE_SIZE, b"\0"), executed)}), 0)
    assert region is not None
    return region


def ahead_of(region: Region) -> tuple[int, list[str]]:
    """How many looks of head 0 are made ahead, and what is put away on rare ways only."""
    ahead = heads_ahead(region)[1]
    homes = Homes(region, {head: one.overwritten for head, one in ahead.items()}, circles_around(region, ahead))
    return (len(ahead[0].looks) if 0 in ahead else 0), list(names(homes.lazy(0)))


def test_what_a_loop_brings_as_words_is_taken_for_words_where_it_is_begun() -> None:
    region = region_of(*ROTATED, SUM, *NEXT, again(24))
    assert list(names(Words(region, Homes(region)).at(0))) == ["x5", "x10"]


def test_what_a_loop_only_reads_or_computes_wider_is_not() -> None:
    region = region_of(asm("add", rd=10, rs1=10, rs2=6), asm("addiw", rd=5, rs1=5, imm=1), again(8))
    assert list(names(Words(region, Homes(region)).at(0))) == ["x5"]


def test_what_goes_round_unchanged_is_not_whatever_is_written_behind_the_loop() -> None:
    region = region_of(
        asm("jal", rd=1, imm=20), asm("addiw", rd=5, rs1=5, imm=1), again(8), asm("ld", rd=7, rs1=12), asm("jalr", rd=0, rs1=1),
        asm("add", rd=10, rs1=10, rs2=7), asm("jalr", rd=0, rs1=1),
    )  # fmt: skip
    assert 12 in region.steps
    assert list(names(Words(region, Homes(region)).at(0))) == ["x5"]


def test_where_a_function_begins_nothing_is() -> None:
    call = asm("jal", rd=1, imm=-8)
    region = region_of(
        asm("addiw", rd=5, rs1=5, imm=1), asm("jalr", rd=0, rs1=1), call, asm("addiw", rd=7, rs1=5, imm=2), asm("jal", rd=0, imm=-8)
    )
    assert 0 in region.entries
    assert Words(region, Homes(region)).at(0) == 0


def test_temporaries_are_nowhere_where_the_looks_are_made_ahead() -> None:
    assert ahead_of(region_of(LOAD, *ROTATED, SUM, *NEXT, again(28))) == (1, ["x7", "x8", "x9", "x11"])


def test_an_address_that_the_line_computes_is_looked_for_in_the_line() -> None:
    derived = asm("add", rd=13, rs1=12, rs2=5)
    looks, lazy = ahead_of(region_of(*ROTATED, derived, asm("lw", rd=11, rs1=13), SUM, *NEXT, again(32)))
    assert (looks, lazy) == (0, ["x7", "x8", "x9", "x13"])


def test_a_store_does_not_leave() -> None:
    code = [asm("sw", rs1=12, rs2=5), *ROTATED, SUM, *NEXT, again(28)]
    assert ahead_of(region_of(*code)) == (1, ["x7", "x8", "x9"])


def test_what_can_be_had_anew() -> None:
    region = region_of(LOAD, *ROTATED, SUM, asm("addi", rd=12, rs1=12, imm=4), asm("bne", rs1=12, rs2=6, imm=-24))
    ahead = heads_ahead(region)[1]
    circles, homes = circles_around(region, ahead), Homes(region)
    anew = behind_lines(region, circles, homes, Words(region, homes))[0]
    assert list(anew.which((1 << 32) - 2)) == [7, 8, 9]  # x5 goes on; x11 was loaded


def test_a_division_is_not_done_twice() -> None:
    region = region_of(asm("remuw", rd=7, rs1=10, rs2=6), asm("addiw", rd=8, rs1=7, imm=48), *NEXT, again(16))
    ahead = heads_ahead(region)[1]
    homes = Homes(region)
    anew = behind_lines(region, circles_around(region, ahead), homes, Words(region, homes))[0]
    assert not list(anew.which((1 << 7) | (1 << 8)))


@pytest.mark.parametrize("first", [0, 1 << 40, -5, 1 << 31])
def test_a_register_that_is_no_word_at_first(make_bare: Callable[..., Bare], first: int) -> None:
    both = [make_bare(), make_bare()]
    compiling = Compiling(both[1])
    inner = [LOAD, *ROTATED, SUM, asm("addw", rd=10, rs1=10, rs2=11), asm("addi", rd=12, rs1=12, imm=4), asm("addi", rd=14, rs1=14, imm=-1)]
    loop = [*inner, asm("bne", rs1=14, rs2=0, imm=-4 * len(inner))]
    start = [asm("add", rd=10, rs1=10, rs2=16), asm("addi", rd=14, rs1=0, imm=30), asm("add", rd=12, rs1=15, rs2=0)]
    back = asm("bne", rs1=13, rs2=0, imm=-4 * (len(start) + len(loop) + 1))
    for bare in both:
        bare.put(CODE, *start, *loop, asm("addi", rd=13, rs1=13, imm=-1), back, asm("ecall"))
        bare.machine.ram.write(DATA, bytes(range(256)))
        bare.cpu.x[5], bare.cpu.x[13], bare.cpu.x[15], bare.cpu.x[16] = 0x87654321, 300, DATA, first & (1 << 64) - 1
    reason = exits.LIMIT
    while reason == exits.LIMIT:
        reason = both[0].run(10_007)
        assert compiling.run(10_007) == reason
        assert everything(both[1]) == everything(both[0])
    assert compiling.regions.statistics.placed > 0


@pytest.mark.parametrize("last", [4 * PAGE_SIZE, 4 * PAGE_SIZE - 2])
def test_a_loop_that_runs_out_of_memory(make_bare: Callable[..., Bare], last: int) -> None:
    """What its last whole pass has left in temporaries is right behind the fault."""
    both = [make_bare(), make_bare()]
    compiling = Compiling(both[1])
    size = both[0].machine.ram.size
    for bare in both:
        bare.put(CODE, LOAD, *ROTATED, SUM, *NEXT, again(28))
        bare.cpu.x[5], bare.cpu.x[6], bare.cpu.x[12] = 1, -1 & (1 << 64) - 1, CODE - 0x1000 + size - 0x200000 - last
        bare.cpu.watches_traps = 1
    reason = exits.LIMIT
    while reason == exits.LIMIT:
        reason = both[0].run(40_000)
        assert compiling.run(40_000) == reason
        assert everything(both[1]) == everything(both[0])
    assert reason == exits.TRAP
    assert compiling.regions.statistics.placed > 0


def test_labels_of_places_are_no_others(make_bare: Callable[..., Bare]) -> None:
    """A head's second text was once called as a look's of another line, which LLVM refused."""
    both = [make_bare(), make_bare()]
    compiling = Compiling(both[1], checked=False)
    for bare in both:
        prepare(bare, 7005)
    assert both[0].run(60_000) == compiling.run(60_000)
    assert everything(both[1]) == everything(both[0])
    assert compiling.regions.statistics.placed > 0
