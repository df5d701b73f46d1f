"""Loops over bytes that are made sixteen passes at a time: which are, and that they do what they did, to the byte and the instruction."""

from __future__ import annotations

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.region.pages import CodePage, Graph
from gasang.cpus.riscv64.region.plans import plan
from gasang.cpus.riscv64.region.runs import runs_of
from gasang.cpus.riscv64.region.scans import Scan, scan_of
from gasang.cpus.riscv64.region.shape import form
from support.bare import CODE, asm
from support.lockstep.state import PAGE
from support.pairs import Pair, both, make_pair, paged
from support.regions import DATA, SP

__all__ = ["make_pair"]

A, B, C, X, Y, Z = 12, 13, 14, 10, 11, 15
SCATTERED = [5, 2, 7, 0, 3, 6, 1, 4]


def plus(register: int, number: int = 1) -> bytes:
    return asm("addi", rd=register, rs1=register, imm=number)


def load(register: int, base: int, number: int = 0, name: str = "lbu") -> bytes:
    return asm(name, rd=register, rs1=base, imm=number)


def store(register: int, base: int, number: int = 0) -> bytes:
    return asm("sb", rs1=base, rs2=register, imm=number)


def back(name: str, left: int, right: int, instructions: int) -> bytes:
    return asm(name, rs1=left, rs2=right, imm=-4 * instructions)


COPY = [load(X, A), plus(B), plus(A), store(X, B, -1), back("bne", X, 0, 4)]
MEASURE = [load(X, A, 1), plus(A), back("bne", X, 0, 2)]
FIND = [load(X, A), plus(A), asm("beq", rs1=X, rs2=0, imm=8), back("bne", X, C, 3)]
FILL = [load(X, A), plus(A), store(C, A, -1), back("bne", X, 0, 3)]
SIGNED = [load(X, A, 0, "lb"), plus(A), back("bne", X, C, 2)]
COMPARE = [
    plus(A), plus(B), asm("bne", rs1=X, rs2=Y, imm=20), load(X, A), load(Y, B), asm("beq", rs1=X, rs2=0, imm=8), asm("jal", rd=0, imm=-24),
]  # fmt: skip
ROTATED = [
    load(Y, B), plus(A), asm("addi", rd=Z, rs1=B, imm=1), asm("bne", rs1=X, rs2=Y, imm=20), load(X, A),
    asm("beq", rs1=X, rs2=0, imm=12), asm("add", rd=B, rs1=0, rs2=Z), asm("jal", rd=0, imm=-28),
]  # fmt: skip
LATER = [
    load(Y, B, 0, "lb"), plus(A), asm("bne", rs1=X, rs2=Y, imm=28), asm("addi", rd=Z, rs1=B, imm=1), asm("addi", rd=31, rs1=B, imm=3),
    load(X, A, 0, "lb"), asm("beq", rs1=X, rs2=0, imm=12), asm("add", rd=B, rs1=0, rs2=Z), asm("jal", rd=0, imm=-32),
]  # fmt: skip
REPLACE = [asm("beq", rs1=X, rs2=C, imm=28), load(X, A), load(Y, B), plus(A), plus(B), store(Y, A, -1), back("bne", Y, 0, 6)]
LOOPS = {
    "copy": COPY, "measure": MEASURE, "find": FIND, "fill": FILL, "signed": SIGNED, "compare": COMPARE, "rotated": ROTATED,
    "later": LATER, "replace": REPLACE,
}  # fmt: skip


def scans(*code: bytes) -> list[Scan | None]:
    content = b"".join(code)
    executed = bytes([1, 0] * (len(content) // 4)).ljust(PAGE // 2, b"\0")
    region = form(Graph({0: CodePage(0, content.ljust(PAGE, b"\0"), executed)}), 0)
    assert region is not None
    runs = runs_of(region, {leader: plan(region.line(leader)) for leader in region.leaders})
    return [scan_of(region, run) for run in runs.values()]


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_over_bytes_are_scans(loop: str) -> None:
    [scan] = scans(*LOOPS[loop])
    assert scan is not None
    assert scan.length == len(LOOPS[loop])
    assert scan.leaves


@pytest.mark.parametrize(
    "body",
    [
        [load(X, A), plus(A, 2)],
        [load(X, A), plus(A, -1)],
        [load(X, A, 0, "lhu"), plus(A)],
        [load(X, A), plus(A), asm("add", rd=Y, rs1=Y, rs2=X)],
        [load(X, A), store(X, B), load(Y, C), plus(A), plus(B), plus(C)],
        [load(X, A), store(Y, B), asm("addi", rd=Y, rs1=X, imm=0), plus(A), plus(B)],
        [load(X, A), plus(A), plus(C), asm("addi", rd=Y, rs1=X, imm=1)],
        [load(X, A), plus(A), asm("bne", rs1=A, rs2=B, imm=32)],
        [load(X, A), plus(A), asm("blt", rs1=X, rs2=B, imm=32)],
        [load(X, A), load(Y, B, 0, "lb"), plus(A), plus(B), asm("bne", rs1=X, rs2=Y, imm=32)],
        [load(X, A), plus(A), asm("bne", rs1=X, rs2=C, imm=32), plus(C)],
    ],
)
def test_others_are_not(body: list[bytes]) -> None:
    assert not any(scans(*body, back("bne", X, 0, len(body))))


def test_what_only_counts_is_none() -> None:
    assert not any(scans(load(X, A), plus(A), plus(B, -1), back("bne", B, 0, 3)))


def text(length: int, last: int = 0) -> bytes:
    """Bytes of which the last alone is 0, some of them as if they were negative."""
    return bytes(1 + at * 37 % 255 for at in range(length)) + bytes([last])


def begun(pair: Pair, loop: str, pages: list[int], first: int, second: int, start: int, *between: bytes) -> None:
    """The loop again and again from `first` and `second` on; something `between` it and what looks at its registers."""
    head = [
        asm("add", rd=A, rs1=0, rs2=6), asm("add", rd=B, rs1=0, rs2=7), load(X, A), load(Y, B), asm("addi", rd=Z, rs1=B, imm=9),
        *([asm("add", rd=X, rs1=0, rs2=28)] if start else []),
    ]  # fmt: skip
    code = [*head, *LOOPS[loop]]
    code += [*between, *(asm("add", rd=30 - register % 2, rs1=30 - register % 2, rs2=register) for register in (X, Y, Z, 31))]
    code.append(asm("jal", rd=0, imm=-4 * len(code)))
    for bare in pair[:2]:
        paged(bare, pages)
        bare.put(CODE, *code)
        bare.cpu.x[6], bare.cpu.x[7], bare.cpu.x[28], bare.cpu.x[SP], bare.cpu.x[C] = first, second, start, DATA, 0xFFFF_FFFF_FFFF_FFC1
        bare.cpu.watches_traps = 1


def laid(pair: Pair, pages: list[int], *found: tuple[int, bytes]) -> None:
    """Have bytes at distances from DATA, as the guest sees it."""
    for bare in pair[:2]:
        for where, content in found:
            for at, byte in enumerate(content):
                place = where + at
                bare.machine.ram.write(DATA + pages[place // PAGE] * PAGE + place % PAGE, bytes([byte]))


@pytest.mark.parametrize("pages", [list(range(8)), SCATTERED])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 100, 4200])
@pytest.mark.parametrize("loop", ["copy", "measure", "compare", "rotated", "later", "find", "replace"])
def test_texts_of_every_length(pair: Pair, loop: str, length: int, pages: list[int]) -> None:
    laid(pair, pages, (PAGE - 40, text(length)), (3 * PAGE - 25, text(length)))
    begun(pair, loop, pages, DATA + PAGE - 40, DATA + 3 * PAGE - 25, 0)
    assert both(pair, 60_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    for limit in (1, 777, 4096, 12_345):
        assert both(pair, limit) == exits.LIMIT


@pytest.mark.parametrize("at", [0, 1, 15, 16, 17, 40])
@pytest.mark.parametrize("loop", ["compare", "rotated", "later"])
def test_texts_that_differ(pair: Pair, loop: str, at: int) -> None:
    pages = list(range(8))
    one, other = text(60), bytearray(text(60))
    other[at] ^= 0x80
    laid(pair, pages, (100, one), (900, bytes(other)), (300, one), (1100, bytes(other)))
    begun(pair, loop, pages, DATA + 100, DATA + 900, 0)
    assert both(pair, 60_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    for limit in range(40):
        for bare in pair[:2]:
            bare.cpu.x[6], bare.cpu.x[7] = DATA + 100 + 200 * (limit % 2), DATA + 900 + 200 * (limit % 2)
        assert both(pair, 9000 + 13 * limit) == exits.LIMIT


def test_registers_that_others_read(pair: Pair) -> None:
    """What is only read outside is put away before each pass."""
    pages = list(range(8))
    one, other = text(60), bytearray(text(60))
    other[50] ^= 0x80
    for at in range(20):
        laid(pair, pages, (100 + 100 * at, one), (4100 + 100 * at, bytes(other)))
    begun(pair, "later", pages, DATA + 100, DATA + 4100, 0, asm("csrrs", rd=3, rs1=0, csr=0x140))
    assert both(pair, 60_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    for at in range(20):
        for bare in pair[:2]:
            bare.cpu.x[6], bare.cpu.x[7] = DATA + 100 + 100 * at, DATA + 4100 + 100 * at
        assert both(pair, 20_000) == exits.LIMIT


@pytest.mark.parametrize("gap", [-40, -16, -15, -3, -1, 0, 1, 2, 7, 15, 16, 17, 40])
@pytest.mark.parametrize("loop", ["copy", "fill", "replace"])
def test_what_is_stored_to_what_is_loaded(pair: Pair, loop: str, gap: int) -> None:
    pages = list(range(8))
    laid(pair, pages, (100, text(300)), (600, bytes(2000)))
    begun(pair, loop, pages, DATA + 100, DATA + 100 + gap, 0)
    for bare in pair[:2]:
        bare.cpu.x[C] = 65
    both(pair, 30_000)
    for _ in range(3):
        laid(pair, pages, (100, text(300)), (600, bytes(2000)))
        assert both(pair, 30_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0


@pytest.mark.parametrize("start", [5, 256, 261, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("loop", ["compare", "rotated", "later"])
def test_a_register_that_begins_as_no_byte(pair: Pair, loop: str, start: int) -> None:
    pages = list(range(8))
    laid(pair, pages, (100, b"\5" * 50 + b"\0"), (900, b"\5" * 50 + b"\0"))
    begun(pair, loop, pages, DATA + 100, DATA + 900, 5)
    assert both(pair, 60_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    for bare in pair[:2]:
        bare.cpu.x[28] = start
    for limit in (2000, 1, 77, 12_345):
        assert both(pair, limit) == exits.LIMIT


@pytest.mark.parametrize("last", [0xC1, 0x41])
@pytest.mark.parametrize("loop", ["signed", "find"])
def test_signed_bytes(pair: Pair, loop: str, last: int) -> None:
    pages = list(range(8))
    laid(pair, pages, (100, b"\1" * 70 + bytes([last]) + b"\2" * 30 + b"\xc1\0"))
    begun(pair, loop, pages, DATA + 100, DATA + 900, 0)
    assert both(pair, 60_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0


@pytest.mark.parametrize("loop", ["copy", "measure", "compare"])
def test_the_end_of_memory_is_met_at_just_that_byte(pair: Pair, loop: str) -> None:
    pages = [2, 0, 1]
    laid(pair, pages, (PAGE + 8, b"\7" * 100 + b"\0"), (2 * PAGE + 8, b"\7" * 100 + b"\0"))
    begun(pair, loop, pages, DATA + PAGE + 8, DATA + 2 * PAGE + 8, 0)
    assert both(pair, 60_000) == exits.LIMIT
    assert pair[2].regions.statistics.placed > 0
    laid(pair, pages, (PAGE + 8, b"\7" * (2 * PAGE - 8)))
    assert both(pair, 100_000) == exits.TRAP
    assert not DATA <= pair[1].trap()[2] < DATA + 3 * PAGE
