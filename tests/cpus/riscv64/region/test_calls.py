"""Calls in regions: which functions are copied, where returns lead, and that copies do what the interpreter does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.region.calls import MOST_COPIED, SMALL
from gasang.cpus.riscv64.region.pages import COPY, CodePage, Graph, guest_place
from gasang.cpus.riscv64.region.shape import Region, form
from gasang.cpus.riscv64.state import PAGE_SIZE
from support.bare import CODE, Bare, asm
from support.regions import DATA, Compiling, everything

ADD = asm("addi", rd=10, rs1=10, imm=1)
RETURN = asm("jalr", rd=0, rs1=1)
LINK, ALTERNATE = 1, 5


def call(here: int, there: int, rd: int = LINK) -> bytes:
    """A call of the instruction numbered `there` by the one numbered `here`."""
    return asm("jal", rd=rd, imm=4 * (there - here))


def back(here: int, there: int = 0) -> bytes:
    """The end of a loop that begins at an instruction."""
    return asm("bne", rs1=8, rs2=6, imm=4 * (there - here))


def formed(*parts: bytes, jumps: dict[int, list[int]] | None = None, copied: int = MOST_COPIED) -> Region:
    """The region around the first of these instructions, all of which were executed."""
    code = b"".join(parts)
    executed = bytes([1, 0] * (len(code) // 4)).ljust(PAGE_SIZE // 2, b"\0")
    region = form(Graph({0: CodePage(0, code.ljust(PAGE_SIZE, b"\0"), executed)}, jumps or {}), 0, copied=copied)
    assert region is not None
    return region


def called(region: Region, number: int) -> int | None:
    """Where the call leads that is the instruction of a number."""
    return region.steps[4 * number].target


def test_each_call_of_a_small_function_has_a_copy_that_returns_behind_it() -> None:
    region = formed(call(0, 4), ADD, call(2, 4), back(3), ADD, RETURN)
    first, second = called(region, 0), called(region, 2)
    assert {first, second} == {COPY + 16, 2 * COPY + 16}
    assert region.targets == {20: (), COPY + 20: (4,), 2 * COPY + 20: (12,)}
    assert region.places == (0, 4, 8, 12, 16, 20)
    assert region.heads == {0}


def test_what_goes_in_circles_is_not_copied_and_may_be_begun_from_outside() -> None:
    region = formed(call(0, 4), ADD, call(2, 4), back(3), ADD, asm("bne", rs1=10, rs2=7, imm=-4), RETURN)
    assert called(region, 0) == called(region, 2) == 16
    assert region.targets == {24: (4, 12)}
    assert 16 in region.entries


def test_who_comes_from_outside_begins_where_nothing_is_copied() -> None:
    region = formed(call(0, 5), ADD, call(2, 5), asm("jal", rd=0, imm=-12), asm("ecall"), ADD, RETURN)
    assert called(region, 0) == COPY + 20
    assert region.entries == (0, 20)


def test_a_copy_has_copies_of_what_it_calls() -> None:
    region = formed(call(0, 2), back(1), asm("add", rd=5, rs1=1, rs2=0), call(3, 6), ADD, asm("jalr", rd=0, rs1=5), ADD, RETURN)
    outer = called(region, 0)
    assert outer == COPY + 8
    inner = region.steps[outer + 4].target
    assert inner not in (None, 24)
    assert guest_place(inner or 0) == 24
    assert region.targets[(inner or 0) + 4] == (outer + 8,)


def test_what_calls_itself_is_not_copied() -> None:
    region = formed(call(0, 2), back(1), asm("beq", rs1=10, rs2=0, imm=12), call(3, 2), ADD, RETURN)
    assert called(region, 0) == called(region, 3) == 8
    assert region.targets == {20: (4, 16)}


def test_what_calls_each_other_is_not_copied() -> None:
    body = [asm("beq", rs1=10, rs2=0, imm=12), call(3, 6), ADD, RETURN, asm("beq", rs1=10, rs2=0, imm=12), call(7, 2), ADD, RETURN]
    region = formed(call(0, 2), back(1), *body)
    assert [called(region, number) for number in (0, 3, 7)] == [8, 24, 8]
    assert region.targets == {20: (4, 32), 36: (16,)}


def test_returns_of_what_is_large_lead_behind_its_own_calls() -> None:
    large = [*[ADD] * SMALL, RETURN]
    region = formed(call(0, 4), ADD, call(2, 4 + len(large)), back(3), *large, *large)
    assert region.steps.keys() == set(region.places)
    assert region.targets == {4 * (3 + len(large)): (4,), 4 * (3 + 2 * len(large)): (12,)}


def test_no_more_is_copied_than_may_be() -> None:
    region = formed(call(0, 4), ADD, call(2, 4), back(3), ADD, RETURN, copied=3)
    assert called(region, 0) == COPY + 16
    assert called(region, 2) == 16
    assert region.targets == {20: (12,), COPY + 20: (4,)}
    assert formed(call(0, 4), ADD, call(2, 4), back(3), ADD, RETURN, copied=0).targets == {20: (4, 12)}


def test_jumps_in_a_copy_lead_into_it() -> None:
    code = [call(0, 2), back(1), asm("jalr", rd=0, rs1=12), ADD, RETURN, ADD, RETURN]
    region = formed(*code, jumps={8: [12, 20]})
    assert called(region, 0) == COPY + 8
    assert region.targets[COPY + 8] == (COPY + 12, COPY + 20)
    assert called(formed(*code), 0) == 8


def test_what_an_indirect_call_leads_to_returns_behind_it() -> None:
    code = [asm("jalr", rd=1, rs1=12), back(1), ADD, RETURN]
    assert formed(*code, jumps={0: [8]}).targets == {0: (8,), 12: (4,)}


def test_a_function_that_leaves_the_region_is_not_copied() -> None:
    region = formed(call(0, 2), back(1), asm("add", rd=5, rs1=1, rs2=0), call(3, 900), asm("jalr", rd=0, rs1=5))
    assert called(region, 0) == 8


PROGRAM = [
    call(0, 9),
    call(1, 9),
    asm("add", rd=10, rs1=10, rs2=11),
    call(3, 16, ALTERNATE),
    asm("sb", rs1=7, rs2=8, imm=0x40),
    asm("addi", rd=8, rs1=8, imm=1),
    back(6),
    asm("ecall"),
    asm("ecall"),
    # 9: keeps where it returns to in memory, calls another, adds what that leaves
    asm("addi", rd=2, rs1=2, imm=-16),
    asm("sd", rs1=2, rs2=1, imm=0),
    call(11, 16, ALTERNATE),
    asm("addw", rd=11, rs1=11, rs2=13),
    asm("ld", rd=1, rs1=2, imm=0),
    asm("addi", rd=2, rs1=2, imm=16),
    RETURN,
    # 16: the distance of the first byte that is not 0
    asm("addi", rd=12, rs1=7, imm=0x40),
    asm("lbu", rd=13, rs1=12, imm=0),
    asm("bne", rs1=13, rs2=0, imm=8),
    asm("addi", rd=12, rs1=12, imm=1),
    asm("sub", rd=13, rs1=12, rs2=7),
    asm("jalr", rd=0, rs1=5),
]


def begun(bare: Bare) -> Bare:
    """With the program above, its data and its stack."""
    bare.put(CODE, *PROGRAM)
    bare.cpu.x[2], bare.cpu.x[6], bare.cpu.x[7] = DATA + 0x1000, 1 << 40, DATA
    return bare


@pytest.mark.parametrize("checked", [False, True], ids=["on", "check"])
def test_copies_end_at_just_the_instruction_asked_for(make_bare: Callable[..., Bare], checked: bool) -> None:
    plain, compiled = begun(make_bare()), begun(make_bare())
    compiling = Compiling(compiled, checked=checked)
    assert plain.run(30_000) == compiling.run(30_000) == exits.LIMIT
    assert compiling.regions.statistics.placed > 0
    for count in (*range(1, 120), 8191, 8192, 8193, 20_011):
        assert plain.run(count) == compiling.run(count) == exits.LIMIT
        assert everything(compiled) == everything(plain)
    before = int(compiled.cpu.compiled)
    assert plain.run(200_000) == compiling.run(200_000) == exits.LIMIT
    assert checked or compiled.cpu.compiled - before > 150_000


@pytest.mark.parametrize("checked", [False, True], ids=["on", "check"])
def test_a_return_address_that_is_changed_in_memory(make_bare: Callable[..., Bare], checked: bool) -> None:
    plain, compiled = begun(make_bare()), begun(make_bare())
    compiling = Compiling(compiled, checked=checked)
    for bare, run in ((plain, plain.run), (compiled, compiling.run)):
        bare.put(CODE + 4 * 12, asm("jal", rd=0, imm=4 * 28))
        bare.put(
            CODE + 4 * 40,
            asm("addw", rd=11, rs1=11, rs2=13),
            asm("andi", rd=14, rs1=8, imm=255),
            asm("bne", rs1=14, rs2=0, imm=12),
            asm("addi", rd=14, rs1=1, imm=4),
            asm("sd", rs1=2, rs2=14, imm=0),
            asm("jal", rd=0, imm=4 * (13 - 45)),
        )
        assert run(300_000) == exits.LIMIT
    assert everything(compiled) == everything(plain)
    assert compiling.regions.statistics.placed > 0


@pytest.mark.parametrize("checked", [False, True], ids=["on", "check"])
def test_a_load_that_faults_in_a_copy(make_bare: Callable[..., Bare], checked: bool) -> None:
    plain, compiled = begun(make_bare()), begun(make_bare())
    compiling = Compiling(compiled, checked=checked)
    for bare, run in ((plain, plain.run), (compiled, compiling.run)):
        bare.cpu.watches_traps = 1
        assert run(60_000) == exits.LIMIT
        while bare.cpu.pc != CODE:
            assert run(1) == exits.LIMIT
        bare.cpu.x[7] = 1 << 62
        assert run(60_000) == exits.TRAP
    assert everything(compiled) == everything(plain)
    assert compiled.cpu.sepc == CODE + 4 * 17
    assert compiling.regions.statistics.placed > 0
