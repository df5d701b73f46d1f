"""A machine that interprets and one that compiles, side by side, with or without paging."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.cpus.riscv64.mmu import PTE_A, PTE_D, PTE_R, PTE_W, PTE_X
from gasang.cpus.riscv64.state import SUPERVISOR
from support.bare import CODE, HANDLER, Bare
from support.lockstep.state import PAGE
from support.regions import DATA, Compiling, everything

READ = PTE_R | PTE_A
WRITE = READ | PTE_W | PTE_D
LEAF = WRITE | PTE_X
SV39 = 8 << 60

Pair = tuple[Bare, Bare, Compiling]


@pytest.fixture(name="pair")
def make_pair() -> Iterator[Pair]:
    """A machine that interprets, another that compiles."""
    plain, compiled = Bare(), Bare()
    yield plain, compiled, Compiling(compiled)
    plain.close()
    compiled.close()


def paged(bare: Bare, pages: list[int], flags: int = WRITE) -> list[int]:
    """Turn paging on: code where it is, DATA on these physical pages from there; where the data's PTEs are."""
    root = bare.new_table()
    for page in (*range(CODE, CODE + 4 * PAGE, PAGE), HANDLER):
        bare.map(root, 3, page, page, LEAF)
    slots = [bare.map(root, 3, DATA + number * PAGE, DATA + page * PAGE, flags) for number, page in enumerate(pages)]
    bare.enter(SUPERVISOR, SV39 | root >> 12)
    return slots


def both(pair: Pair, count: int) -> int:
    """Run both; why they ended, having found the same."""
    plain, compiled, compiling = pair
    reason = plain.run(count)
    assert compiling.run(count) == reason
    assert everything(compiled) == everything(plain)
    return reason
