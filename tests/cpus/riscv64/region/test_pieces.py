"""Bytes that are one word are loaded and stored as one, and nobody can tell."""

from __future__ import annotations

import random

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.mmu import PTE_W
from gasang.cpus.riscv64.region.emit import RegionEmitter
from gasang.cpus.riscv64.region.pages import CodePage, Graph, Step
from gasang.cpus.riscv64.region.pieces import plan_whole
from gasang.cpus.riscv64.region.shape import form
from gasang.cpus.riscv64.state import SUPERVISOR
from support.bare import CODE, asm
from support.lockstep.state import PAGE
from support.pairs import Pair, both, make_pair, paged
from support.regions import DATA, DATA_SIZE, SP

__all__ = ["make_pair"]

A, B, C, WORD, PART = 10, 11, 13, 14, 15
ADDRESS, COUNT = 12, 6
PARTS = (16, 17, 18, 19, 20, 21, 22, 23)


def words(*code: bytes) -> list[tuple[int, int, list[int]]]:
    """Of each word of a line: where it begins, its bytes, and which instructions access them, the last one last."""
    decoded = [rv64.decode(int.from_bytes(word, "little")) for word in code]
    line = [Step(4 * number, one) for number, one in enumerate(decoded) if one is not None]
    planned = plan_whole(line)
    wholes = dict.fromkeys(one.whole for one in planned.values() if one.whole is not None)
    members = [[place for place, one in planned.items() if one.whole is whole] for whole in wholes]
    assert all([planned[place].is_last for place in places] == [False] * (len(places) - 1) + [True] for places in members)
    return [(whole.low, whole.size, [place // 4 for place in places]) for whole, places in zip(wholes, members, strict=True)]


def loads(distances: list[int], base: int = A) -> list[bytes]:
    return [asm("lbu", rd=PARTS[number % 8], rs1=base, imm=distance) for number, distance in enumerate(distances)]


def stores(distances: list[int], *, value: int = WORD) -> list[bytes]:
    """Bytes of one value, the lowest where the distance is least."""
    first = min(distances)
    return [
        code
        for distance in distances
        for code in (asm("srli", rd=PART, rs1=value, imm=8 * (distance - first) % 64), asm("sb", rs1=A, rs2=PART, imm=distance))
    ]


def test_eight_bytes_or_four_in_any_order() -> None:
    assert words(*loads([3, 1, 0, 2])) == [(0, 4, [0, 1, 2, 3])]
    assert words(*loads([5, 6, 7, 8, 9, 10, 11, 12])) == [(5, 8, [0, 1, 2, 3, 4, 5, 6, 7])]
    assert words(*loads([-2, -1, 0, 1, 9, 10, 11])) == [(-2, 4, [0, 1, 2, 3])]
    assert words(*stores([3, 1, 0, 2])) == [(0, 4, [1, 3, 5, 7])]


def test_bytes_that_are_none() -> None:
    assert words(*loads([0, 1, 2])) == []
    assert words(*loads([0, 2, 4, 6])) == []
    assert words(*loads([0, 1, 2, 2, 3])) == [], "a byte twice"
    assert words(*[asm("lhu", rd=B, rs1=A, imm=distance) for distance in (0, 2, 4, 6)]) == []


@pytest.mark.parametrize(
    "between", [asm("sb", rs1=C, rs2=B), asm("fence"), asm("sd", rs1=A, rs2=B, imm=32), asm("lbu", rd=B, rs1=C), asm("ld", rd=B, rs1=A)]
)
def test_loads_are_not_moved_across(between: bytes) -> None:
    """Nor across another load: it may be of the same byte, and a later load must not be of what was there before."""
    assert words(*loads([0, 1]), between, *loads([2, 3])) == []


@pytest.mark.parametrize(
    "between", [asm("ld", rd=B, rs1=A, imm=32), asm("sb", rs1=C, rs2=B), asm("fence"), asm("sd", rs1=A, rs2=B, imm=32)]
)
def test_stores_are_not_moved_across(between: bytes) -> None:
    assert words(*stores([0, 1, 2, 3])[:4], between, *stores([0, 1, 2, 3])[4:]) == []


def test_what_has_to_do_with_registers_alone_may_lie_between() -> None:
    for code in (stores([0, 1, 2, 3]), loads([0, 1, 2, 3])):
        assert len(words(*code[:2], asm("mul", rd=B, rs1=B, rs2=C), *code[2:])) == 1


def test_bytes_of_many_values_are_stored_one_by_one() -> None:
    assert words(*[asm("sb", rs1=A, rs2=PARTS[number], imm=number) for number in range(4)]) == []
    assert words(*[asm("sb", rs1=A, rs2=0, imm=number) for number in range(8)]) == [(0, 8, [*range(8)])]
    half = [*stores([0, 1, 2, 3]), *stores([4, 5, 6, 7], value=C)]
    assert words(*half) == [(0, 8, [1, 3, 5, 7, 9, 11, 13, 15])]


@pytest.mark.parametrize(("multi", "kinds"), [(False, ["i64"]), (True, ["i8"])])
def test_stores_that_other_harts_reservations_are_asked_for_stay_bytes(multi: bool, kinds: list[str]) -> None:
    code = b"".join([*stores([*range(8)]), asm("jal", rd=0, imm=-64)])
    executed = bytes([1, 0] * (len(code) // 4)).ljust(PAGE // 2, b"\0")
    region = form(Graph({0: CodePage(0, code.ljust(PAGE, b"\0"), executed)}), 0)
    assert region is not None
    text = RegionEmitter(region, {0: 1}, multi=multi).emit().splitlines()
    assert sorted({line.split()[1] for line in text if line.startswith("  store") and ", align 1," in line}) == kinds


def together(distances: list[int]) -> list[bytes]:
    """Bytes loaded in some order and put together, the one that is loaded first lowest."""
    code = [asm("addi", rd=WORD, rs1=0)]
    for number, (load, distance) in enumerate(zip(loads(distances, ADDRESS), distances, strict=True)):
        part = PARTS[number % 8]
        code += [load, asm("slli", rd=part, rs1=part, imm=8 * (distance - min(distances))), asm("or", rd=WORD, rs1=WORD, rs2=part)]
    return code


def passes(body: list[bytes], step: int) -> list[bytes]:
    """`body` at ADDRESS, which goes on by `step` COUNT times, and begins anew."""
    return [
        asm("addi", rd=ADDRESS, rs1=SP),
        asm("addi", rd=5, rs1=0),
        *body,
        asm("addi", rd=ADDRESS, rs1=ADDRESS, imm=step),
        asm("addi", rd=5, rs1=5, imm=1),
        asm("bne", rs1=5, rs2=COUNT, imm=-4 * (len(body) + 2)),
        asm("jal", rd=0, imm=-4 * (len(body) + 5)),
    ]


def begin(pair: Pair, body: list[bytes], *, step: int, count: int) -> None:
    """Place a program that does this again and again, and have it compiled."""
    for bare in pair[:2]:
        bare.put(CODE, *passes(body, step))
        bare.machine.ram.write(DATA, random.Random(step).randbytes(DATA_SIZE))
        bare.cpu.x[COUNT], bare.cpu.x[SP] = count, DATA
        bare.cpu.watches_traps = 1
    assert both(pair, 40_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0


@pytest.mark.parametrize("seed", range(8))
def test_words_in_any_order_on_scattered_pages(pair: Pair, seed: int) -> None:
    """Loaded bytewise, turned, stored bytewise a little further on, where some of it is overwritten: unaligned, over the edges of pages."""
    rng = random.Random(seed)
    pages = [*range(4)]
    rng.shuffle(pages)
    for bare in pair[:2]:
        paged(bare, pages)
    size, further = rng.choice((4, 8)), rng.randrange(12)
    loaded, stored = [*range(size)], [*range(further, further + 8)]
    rng.shuffle(loaded)
    rng.shuffle(stored)
    body = [*together(loaded), asm("xor", rd=WORD, rs1=WORD, rs2=5), *stores(stored)]
    body = [asm("addi", rd=A, rs1=ADDRESS), *body, asm("lw", rd=B, rs1=A, imm=further), asm("add", rd=C, rs1=C, rs2=B)]
    strangers = asm("sh", rs1=A, rs2=5, imm=further + 3), asm("lbu", rd=B, rs1=A, imm=further)
    for _ in range(rng.randrange(3)):
        body.insert(rng.randrange(1, len(body)), rng.choice(strangers))
    begin(pair, body, step=rng.randrange(1, 40), count=rng.randrange(60, 300))
    assert both(pair, 60_000) == exits.LIMIT


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [2, 0, 3, 6, 1, 4, 7, 5]])
def test_a_store_that_traps_amid_a_word_leaves_the_bytes_before_it(pair: Pair, order: list[int]) -> None:
    slots = [paged(bare, [0, 1, 2]) for bare in pair[:2]]
    begin(pair, [asm("addi", rd=A, rs1=ADDRESS), asm("add", rd=WORD, rs1=ADDRESS, rs2=5), *stores(order)], step=13, count=500)
    for bare, found in zip(pair[:2], slots, strict=True):
        bare.set_word(found[1], bare.word(found[1]) & ~PTE_W)
        bare.enter(SUPERVISOR, int(bare.cpu.satp))
        bare.cpu.pc = CODE
    assert both(pair, 10_000) == exits.TRAP
    assert DATA + PAGE <= pair[1].trap()[2] < DATA + PAGE + 8
