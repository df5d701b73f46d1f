"""Branches that skip a few instructions of a loop: which are chosen between, and that what is chosen is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.shape import Region, form
from gasang.cpus.riscv64.region.skips import MOST_SKIPPED, skips_of
from gasang.cpus.riscv64.state import PAGE_SIZE
from support.bare import CODE, Bare, asm
from support.regions import DATA, Compiling, everything

A, B, C = 10, 11, 12
COPY = asm("add", rd=C, rs1=0, rs2=B)
OTHER = asm("addi", rd=B, rs1=C, imm=1)
WORD = asm("addiw", rd=C, rs1=B, imm=-1)
WORDS_TOO = asm("addiw", rd=C, rs1=C, imm=3)


def loop(*skipped: bytes, before: tuple[bytes, ...] = ()) -> list[bytes]:
    """A circle around a branch that skips something."""
    body = [*before, asm("bltu", rs1=A, rs2=B, imm=4 * len(skipped) + 4), *skipped, asm("addi", rd=5, rs1=5, imm=-1)]
    return [*body, asm("bne", rs1=5, rs2=0, imm=-4 * len(body))]


def region_of(*code: bytes) -> Region:
    content = b"".join(code)
    executed = bytes([1, 0] * (len(content) // 4)).ljust(PAGE_SIZE // 2, b"\0")
    region = form(Graph({0: CodePage(0, content.ljust(PAGE_SIZE, b"\0"), executed)}), 0)
    assert region is not None
    return region


def test_what_is_cheap_is_chosen_between() -> None:
    assert skips_of(region_of(*loop(COPY, OTHER, before=(WORD,)))) == {8: 4}


@pytest.mark.parametrize(
    "skipped",
    [
        [COPY] * (MOST_SKIPPED + 1),
        [asm("ld", rd=C, rs1=2)],
        [asm("sd", rs1=2, rs2=C)],
        [asm("divu", rd=C, rs1=C, rs2=B)],
        [asm("fadd.d", fd=1, fs1=1, fs2=2)],
        [asm("csrrs", rd=C, rs1=0, csr=0x100)],
        [asm("jal", rd=0, imm=8), COPY],
    ],
)
def test_what_is_dear_or_may_leave_is_not(skipped: list[bytes]) -> None:
    assert skips_of(region_of(*loop(*skipped, before=(WORD,)))) == {}


def test_what_is_come_to_from_elsewhere_is_not() -> None:
    beside = asm("beq", rs1=A, rs2=C, imm=8)  # to what the next branch skips
    assert skips_of(region_of(*loop(COPY, before=(WORD, beside)))) == {}


@pytest.mark.parametrize(
    "skipped",
    [[COPY], [WORD], [WORD, COPY], [OTHER, COPY], [COPY, OTHER, COPY], [asm("auipc", rd=C, imm=0x1000)], [asm("add", rd=0, rs1=A, rs2=B)]],
)
@pytest.mark.parametrize("before", [[], [WORDS_TOO]])
def test_both_ways_are_right(make_bare: Callable[..., Bare], skipped: list[bytes], before: list[bytes]) -> None:
    """Numbers in no order, words and others, and at the end each time all that the loop has written."""
    number = [asm("ld", rd=A, rs1=13), asm("addi", rd=13, rs1=13, imm=8), asm("add", rd=14, rs1=14, rs2=C), asm("xor", rd=B, rs1=B, rs2=14)]
    both = [make_bare(), make_bare()]
    compiling = Compiling(both[1])
    begin = [asm("addi", rd=13, rs1=2), asm("addi", rd=5, rs1=0, imm=100)]
    inside = loop(*skipped, before=(*number, *before))
    back = asm("bne", rs1=15, rs2=0, imm=-4 * (len(begin) + len(inside) + 1))
    for bare in both:
        bare.put(CODE, *begin, *inside, asm("addi", rd=15, rs1=15, imm=-1), back, asm("ecall"))
        bare.machine.ram.write(DATA, b"".join((one * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "little") for one in range(100)))
        bare.cpu.x[2], bare.cpu.x[B], bare.cpu.x[15] = DATA, 1 << 63, 400
    reason = exits.LIMIT
    while reason == exits.LIMIT:
        reason = both[0].run(10_007)
        assert compiling.run(10_007) == reason
        assert everything(both[1]) == everything(both[0])
    assert compiling.regions.statistics.placed > 0
