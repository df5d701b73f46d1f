"""What a region consists of, for small pieces of code."""

from __future__ import annotations

from gasang.cpus.riscv64.region.leaving import name_of
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.shape import MOST_STEPS, form
from gasang.cpus.riscv64.state import PAGE_SIZE
from support.bare import asm


def graph(*parts: bytes, executed: bool = True, more: dict[int, bytes] | None = None) -> Graph:
    """Page 0 of these instructions, and further pages."""
    pages = {0: b"".join(parts), **(more or {})}
    marks = {delta: bytes([int(executed), 0] * (len(code) // 4)).ljust(PAGE_SIZE // 2, b"\0") for delta, code in pages.items()}
    return Graph({delta: CodePage(delta, code.ljust(PAGE_SIZE, b"\0"), marks[delta]) for delta, code in pages.items()})


ADD = asm("addi", rd=5, rs1=5, imm=1)


def test_a_loop_is_a_region_with_its_head_as_entry_and_check() -> None:
    region = form(graph(ADD, ADD, ADD, asm("bne", rs1=5, rs2=6, imm=-8), ADD), 12)
    assert region is not None
    assert list(region.steps) == [4, 8, 12]
    assert region.entries == (4,)
    assert region.heads == {4}
    assert region.ways == {4: 3, 8: 2, 12: 1}


def test_the_longest_way_round_is_what_a_check_asks_for() -> None:
    skip = asm("beq", rs1=5, rs2=0, imm=12)
    region = form(graph(ADD, skip, ADD, ADD, ADD, asm("jal", rd=0, imm=-20)), 0)
    assert region is not None
    assert region.ways[0] == 6


def test_a_call_in_a_loop_brings_the_function_and_its_return() -> None:
    call, back = asm("jal", rd=1, imm=12), asm("bne", rs1=5, rs2=6, imm=-4)
    region = form(graph(call, back, ADD, ADD, asm("jalr", rd=0, rs1=1)), 0, copied=0)
    assert region is not None
    assert list(region.steps) == [0, 4, 8, 12, 16]
    assert region.targets == {16: (4,)}
    assert region.goes_on(region.steps[16]) == [4]
    assert 12 in region.entries


def test_whatever_part_of_a_loop_is_hot_the_region_is_the_same() -> None:
    inner, outer = asm("bne", rs1=5, rs2=6, imm=-4), asm("bne", rs1=7, rs2=8, imm=-20)
    code = graph(ADD, ADD, ADD, inner, asm("jal", rd=1, imm=12), outer, asm("ecall"), ADD, asm("jalr", rd=0, rs1=1))
    regions = [form(code, place) for place in (0, 4, 8, 12, 16, 20, 28, 32)]
    first = regions[0]
    assert first is not None
    assert first.heads == {0, 8}
    assert first.entries == (0, 8, 28)
    assert all(region == first for region in regions)


def test_a_hot_place_that_is_in_no_circle_is_a_way_in() -> None:
    skip = asm("beq", rs1=5, rs2=0, imm=8)
    region = form(graph(ADD, skip, ADD, ADD, ADD, asm("ecall")), 16)
    assert region is not None
    assert region.entries == (0, 12)


def test_code_that_was_not_executed_is_not_in_it() -> None:
    assert form(graph(ADD, executed=False), 0) is None


def test_what_the_interpreter_keeps_to_itself_is_not_in_it() -> None:
    read = asm("csrrs", rd=5, rs1=0, csr=0xC00)
    found = graph(ADD, read, ADD, asm("jal", rd=0, imm=-12))
    assert form(found, 4) is None
    region = form(found, 8)
    assert region is not None
    assert list(region.steps) == [0, 8, 12]


def test_an_instruction_on_two_pages_is_not_in_it() -> None:
    last = PAGE_SIZE - 2
    marks = bytes([1, 0] * (PAGE_SIZE // 4 - 1)) + b"\1\1"
    page = CodePage(0, (ADD * (PAGE_SIZE // 4))[:last] + ADD[:2], marks)
    region = form(Graph({0: page, 1: CodePage(1, bytes(PAGE_SIZE), bytes(PAGE_SIZE // 2))}), last - 6)
    assert region is not None
    assert max(region.steps) < last


def test_a_loop_may_lie_on_two_pages() -> None:
    first = ADD * (PAGE_SIZE // 4)
    region = form(graph(first, more={1: ADD + asm("jal", rd=0, imm=-12)}), PAGE_SIZE - 4)
    assert region is not None
    assert list(region.steps) == [PAGE_SIZE - 8, PAGE_SIZE - 4, PAGE_SIZE, PAGE_SIZE + 4]


def test_a_region_is_bounded() -> None:
    region = form(graph(*[ADD] * 1000, asm("jal", rd=0, imm=-4000)), 0)
    assert region is not None
    assert len(region.steps) == MOST_STEPS


def test_indirect_jumps_lead_to_where_they_were_seen_to_lead() -> None:
    code = graph(asm("jalr", rd=0, rs1=6), ADD, asm("jal", rd=0, imm=-8), ADD, asm("jal", rd=0, imm=-16))
    region = form(Graph(code.pages, {0: (8, 12, 0x5000)}), 0)
    assert region is not None
    assert list(region.steps) == [0, 8, 12, 16]
    assert region.goes_on(region.steps[0]) == [8, 12]
    assert {8, 12} <= region.leaders


def test_what_a_division_divides_by_is_found_where_it_is_made() -> None:
    upper, lower = asm("lui", rd=6, imm=0xF4000), asm("addiw", rd=6, rs1=6, imm=0x243)
    divide, back = asm("remu", rd=7, rs1=5, rs2=6), asm("bne", rs1=5, rs2=0, imm=-4)
    region = form(graph(upper, lower, divide, back, asm("jal", rd=0, imm=-16)), 8)
    assert region is not None
    assert region.divisors == {8: 1_000_003}
    other = form(graph(upper, lower, divide, asm("addi", rd=6, rs1=5, imm=0), asm("jal", rd=0, imm=-8)), 8)
    assert other is not None
    assert other.divisors == {}


def test_indirect_jumps_lead_to_what_nothing_else_leads_to() -> None:
    region = form(graph(asm("jalr", rd=0, rs1=6), ADD, asm("jal", rd=0, imm=-8), ADD, asm("jal", rd=0, imm=-16)), 0)
    assert region is not None
    assert region.targets == {0: (4, 12)}
    assert region.goes_on(region.steps[0]) == [4, 12]


def test_many_indirect_jumps_to_many_places_lead_nowhere_unless_they_were_watched() -> None:
    """A switch over all places at each jump is more than a region is worth."""

    def jumps(count: int) -> list[bytes]:
        jump = asm("jalr", rd=0, rs1=6)
        code = [asm("beq", rs1=5, rs2=7, imm=8), jump] * count + [jump]
        for _ in range(20):
            code += [ADD, asm("jal", rd=0, imm=-4 * (len(code) + 1))]
        return code

    few, many = form(graph(*jumps(5)), 0), form(graph(*jumps(40)), 0)
    assert few is not None
    assert many is not None
    assert {len(places) for places in few.targets.values()} == {20}
    assert len(many.targets) == 41
    assert set(many.targets.values()) == {()}


def test_a_region_is_bounded_by_what_is_asked_for() -> None:
    region = form(graph(*[ADD] * 50, asm("jal", rd=0, imm=-200)), 0, 20)
    assert region is not None
    assert len(region.steps) == 20


def test_a_place_has_no_label_that_is_numbered() -> None:
    assert {name_of(place) for place in range(100)}.isdisjoint(str(number) for number in range(100))
