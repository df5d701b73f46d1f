"""Accesses of compiled regions: what they remember of translations is what the page tables said when it was last told."""

from __future__ import annotations

import random

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.mmu import LOAD, PTE_D, PTE_W, STORE
from gasang.cpus.riscv64.region.emit import RegionEmitter
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.plans import Group
from gasang.cpus.riscv64.region.shape import form
from gasang.cpus.riscv64.state import NO_TAG, PAGE_SIZE, SPANS, SUPERVISOR, Window
from gasang.cpus.riscv64.windows import LONG_PATIENCE, NOWHERE, PATIENCE, WINDOWS
from support.bare import CODE, Bare, asm
from support.lockstep.state import PAGE, RAM_BASE
from support.pairs import LEAF, READ, SV39, Pair, both, make_pair, paged
from support.regions import DATA, DATA_SIZE, SP, Compiling, prepare

__all__ = ["make_pair"]

ADDRESS, COUNT, SUM = 12, 6, 10
MEGAPAGE = 1 << 21
SCATTERED = [5, 2, 7, 0, 3, 6, 1, 4]

def walking(step: int, *accesses: bytes) -> list[bytes]:
    """`accesses` at ADDRESS, which goes on by `step` COUNT times, and begins anew."""
    return [
        asm("addi", rd=ADDRESS, rs1=SP),
        asm("addi", rd=5, rs1=0),
        *accesses,
        asm("add", rd=SUM, rs1=SUM, rs2=11),
        asm("addi", rd=ADDRESS, rs1=ADDRESS, imm=step),
        asm("addi", rd=5, rs1=5, imm=1),
        asm("bne", rs1=5, rs2=COUNT, imm=-4 * (len(accesses) + 3)),
        asm("jal", rd=0, imm=-4 * (len(accesses) + 6)),
    ]


def begin(pair: Pair, program: list[bytes], count: int) -> None:
    """Place a program, and have it compiled."""
    for bare in pair[:2]:
        bare.put(CODE, *program)
        bare.cpu.x[COUNT], bare.cpu.x[SP] = count, DATA
        bare.cpu.watches_traps = 1
    assert both(pair, 40_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0


def size_of(window: Window) -> int:
    """Of what a window is over, 0 if it is closed: all its limits say the same."""
    sizes = {int(limit) and int(limit) + span - 1 for limit, span in zip(window.limits, SPANS, strict=True)}
    assert len(sizes) == 1
    return sizes.pop()


@pytest.mark.parametrize("seed", range(300, 304))
def test_random_programs_on_scattered_pages(pair: Pair, seed: int) -> None:
    pages = [*range(-DATA_SIZE // PAGE, DATA_SIZE // PAGE)]
    random.Random(seed).shuffle(pages)
    for bare in pair[:2]:
        prepare(bare, seed)
        bare.cpu.x[SP] = DATA + DATA_SIZE
        paged(bare, pages)
    reason = exits.LIMIT
    while reason == exits.LIMIT:
        reason = both(pair, 30_000)
    assert pair[2].regions.statistics.placed > 0


@pytest.mark.parametrize("pages", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_accesses_that_share_a_look_go_over_the_edges_of_pages(pair: Pair, pages: list[int]) -> None:
    for bare in pair[:2]:
        paged(bare, pages)
    accesses = [
        asm("ld", rd=11, rs1=ADDRESS, imm=0),
        asm("sd", rs1=ADDRESS, rs2=5, imm=40),
        asm("lhu", rd=13, rs1=ADDRESS, imm=63),
        asm("sb", rs1=ADDRESS, rs2=13, imm=9),
    ]
    begin(pair, walking(20, *accesses), 700)
    assert both(pair, 60_000) == exits.LIMIT


@pytest.mark.parametrize("pages", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_accesses_by_a_register_that_is_moved_between_them(pair: Pair, pages: list[int]) -> None:
    for bare in pair[:2]:
        paged(bare, pages)
    accesses = [
        asm("ld", rd=11, rs1=ADDRESS, imm=0),
        asm("addi", rd=ADDRESS, rs1=ADDRESS, imm=48),
        asm("sd", rs1=ADDRESS, rs2=5, imm=-8),
        asm("add", rd=14, rs1=0, rs2=ADDRESS),
        asm("addi", rd=ADDRESS, rs1=ADDRESS, imm=-48),
        asm("lhu", rd=13, rs1=14, imm=7),
        asm("sb", rs1=ADDRESS, rs2=13, imm=9),
    ]
    begin(pair, walking(20, *accesses), 700)
    assert both(pair, 60_000) == exits.LIMIT


@pytest.mark.parametrize(("step", "verb"), [(1032, "ld"), (1032, "sd"), (1023, "sd")])
def test_where_pages_lie_in_no_order_only_the_tlb_is_asked(pair: Pair, step: int, verb: str) -> None:
    for bare in pair[:2]:
        paged(bare, SCATTERED)
    access = asm("ld", rd=11, rs1=ADDRESS) if verb == "ld" else asm("sd", rs1=ADDRESS, rs2=5)
    begin(pair, walking(step, access), 30)
    opened = pair[1].cpu.windows[1]
    assert any(set(window.limits) == {NOWHERE} for window in opened.window)
    assert int(opened.count) <= WINDOWS
    assert len({int(opened.opened[at]) for at in range(int(opened.count))}) == opened.count
    assert both(pair, 3 * LONG_PATIENCE) == exits.LIMIT


@pytest.mark.parametrize("verb", ["ld", "sd"])
def test_a_window_over_a_page_follows_a_place_that_stays_on_each_for_long(pair: Pair, verb: str) -> None:
    for bare in pair[:2]:
        paged(bare, SCATTERED)
    access = asm("ld", rd=11, rs1=13) if verb == "ld" else asm("sd", rs1=13, rs2=5)
    begin(pair, walking(128, asm("xor", rd=13, rs1=ADDRESS, rs2=0), access), 256)  # by a register of which no step is known
    for _ in range(4):
        assert both(pair, 40_000) == exits.LIMIT
    opened = [window for window in pair[1].cpu.windows[1].window if window.limits[0]]
    assert any(window.patience > PATIENCE and set(window.limits) == {PAGE_SIZE + 1 - span for span in SPANS} for window in opened)


def test_a_page_that_becomes_code_is_stored_to_with_care(pair: Pair) -> None:
    for bare in pair[:2]:
        paged(bare, SCATTERED, LEAF)
    begin(pair, walking(1024, asm("sw", rs1=ADDRESS, rs2=14)), 32)
    inside = DATA + 5 * PAGE
    for word in (asm("addi", rd=15, rs1=15, imm=5), asm("addi", rd=15, rs1=15, imm=7)):
        for bare in pair[:2]:
            bare.cpu.x[14] = int.from_bytes(word, "little")
        assert both(pair, 2000) == exits.LIMIT
        for bare in pair[:2]:
            bare.cpu.x[15], bare.cpu.pc = 0, inside
        assert both(pair, 1) == exits.LIMIT
        assert pair[1].cpu.x[15] == int.from_bytes(word, "little") >> 20
        for bare in pair[:2]:
            bare.cpu.pc = CODE


@pytest.mark.parametrize("pages", [[0, 1, 2, 3], [3, 1, 0, 2]])
@pytest.mark.parametrize("verb", ["ld", "sd"])
def test_an_unmapped_page_is_missed_once_the_guest_says_so(pair: Pair, verb: str, pages: list[int]) -> None:
    slots = [paged(bare, pages)[2] for bare in pair[:2]]
    access = asm("ld", rd=11, rs1=ADDRESS) if verb == "ld" else asm("sd", rs1=ADDRESS, rs2=5)
    begin(pair, walking(64, access), 256)
    for bare, slot in zip(pair[:2], slots, strict=True):
        bare.put(CODE + PAGE, asm("sfence.vma", rs1=14), asm("jal", rd=0, imm=-PAGE - 4))
        bare.set_word(slot, 0)
        bare.cpu.x[14], bare.cpu.pc = DATA + 2 * PAGE, CODE + PAGE
    assert both(pair, 10_000) == exits.TRAP
    assert pair[1].trap()[2] == DATA + 2 * PAGE


def test_loads_beside_stores_ask_for_no_right_to_store(pair: Pair) -> None:
    slots = [paged(bare, [0, 1], READ | PTE_W) for bare in pair[:2]]
    for bare in pair[:2]:
        bare.cpu.x[15] = DATA
    begin(pair, walking(64, asm("ld", rd=11, rs1=ADDRESS), asm("ld", rd=13, rs1=15), asm("sd", rs1=ADDRESS, rs2=5, imm=8)), 60)
    for bare, found in zip(pair[:2], slots, strict=True):
        assert bare.word(found[0]) & PTE_D
        bare.cpu.x[15], bare.cpu.x[SP], bare.cpu.pc = 0, DATA + PAGE, CODE
    assert both(pair, 10) == exits.TRAP
    assert not any(bare.word(found[1]) & PTE_D for bare, found in zip(pair[:2], slots, strict=True))


def test_a_store_to_a_page_that_may_only_be_read_traps_at_just_that_place(pair: Pair) -> None:
    slots = [paged(bare, [0, 1, 2]) for bare in pair[:2]]
    begin(pair, walking(64, asm("ld", rd=11, rs1=ADDRESS), asm("sd", rs1=ADDRESS, rs2=5, imm=8)), 192)
    for bare, found in zip(pair[:2], slots, strict=True):
        bare.set_word(found[1], bare.word(found[1]) & ~PTE_W)
        bare.enter(SUPERVISOR, int(bare.cpu.satp))
    assert both(pair, 10_000) == exits.TRAP
    assert DATA + PAGE <= pair[1].trap()[2] < DATA + 2 * PAGE


def test_loads_and_stores_share_no_windows() -> None:
    """There are fewer windows than places of all regions that access memory; one for loads may be over what is not to be stored to."""
    code = b"".join([asm("ld", rd=11, rs1=ADDRESS), asm("sd", rs1=13, rs2=11), asm("jal", rd=0, imm=-8)])
    region = form(Graph({0: CodePage(0, code.ljust(PAGE, b"\0"), bytes([1, 0] * 3).ljust(PAGE // 2, b"\0"))}), 0)
    assert region is not None
    for stamp in (1, 2):
        emitter = RegionEmitter(region, {0: stamp}, multi=False)
        given = {kind: {emitter.window_of(Group(kind, 0, 8)) for _ in range(2 * WINDOWS)} for kind in (LOAD, STORE)}
        assert given[LOAD] | given[STORE] == set(range(WINDOWS))
        assert not given[LOAD] & given[STORE]


def test_a_superpage_is_one_extent_without_the_code_in_it(pair: Pair) -> None:
    for bare in pair[:2]:
        root = bare.new_table()
        for number in range(3):
            bare.map(root, 3, RAM_BASE + number * MEGAPAGE, RAM_BASE + number * MEGAPAGE, LEAF, level=1)
        bare.enter(SUPERVISOR, SV39 | root >> 12)
    begin(pair, walking(512, asm("ld", rd=11, rs1=ADDRESS), asm("sd", rs1=ADDRESS, rs2=5)), 512)
    compiled = pair[1].cpu
    opened = [compiled.windows[1].window[int(compiled.windows[1].opened[at])] for at in range(int(compiled.windows[1].count))]
    stores = [window for window in opened if size_of(window) < MEGAPAGE]
    assert any(window.first <= DATA and window.first + size_of(window) >= DATA + 512 * 512 for window in opened)
    assert stores, "the page of code divides the superpage"
    assert all(not window.first <= CODE < window.first + size_of(window) for window in stores)


@pytest.mark.parametrize(("distance", "failed"), [(0, 1), (64, 0)])
def test_another_hart_loses_its_reservation_to_a_store_to_its_line(distance: int, failed: int) -> None:
    bare = Bare(2)
    compiling = Compiling(bare)
    other = bare.machine.harts[1]
    bare.put(CODE, *walking(0, asm("sd", rs1=ADDRESS, rs2=5)))
    bare.put(CODE + 0x3000, asm("lr.d", rd=11, rs1=SP), asm("sc.d", rd=10, rs1=SP, rs2=0))
    bare.cpu.x[COUNT], bare.cpu.x[SP] = 1000, DATA
    compiling.run(40_000)
    assert compiling.regions.statistics.placed > 0
    other.cpu.x[SP], other.cpu.pc, other.cpu.hot_after = DATA + distance, CODE + 0x3000, 0
    assert bare.run(1, other) == exits.LIMIT
    assert sum(bare.machine.reservations) == 1
    before = bare.cpu.compiled
    compiling.run(9000)
    assert bare.cpu.compiled > before
    assert bare.run(1, other) == exits.LIMIT
    assert other.cpu.x[10] == failed
    assert sum(bare.machine.reservations) == 0
    bare.close()


def test_a_new_context_finds_the_windows_closed(pair: Pair) -> None:
    for bare in pair[:2]:
        paged(bare, [0, 1])
    begin(pair, walking(64, asm("ld", rd=11, rs1=ADDRESS)), 128)
    assert pair[1].cpu.windows[1].context == pair[1].cpu.context
    for bare in pair[:2]:
        paged(bare, [1, 0])
        bare.machine.ram.write(DATA, bytes([7]) * PAGE)
    assert pair[1].cpu.windows[1].context == NO_TAG
    assert both(pair, 40_000) == exits.LIMIT
