"""Exceptions that repeat: counted while next to nothing is done between them, and told to the caller now and then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.csr import SEPC
from gasang.cpus.riscv64.trap import HARDLY, REPEATS, SSIP, SSTATUS_SIE
from support.bare import CODE, HANDLER, Bare, asm

NOP, EBREAK, ILLEGAL = asm("addi"), asm("ebreak"), bytes(4)


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A machine with one hart whose program is a breakpoint."""
    machine = Bare()
    machine.put(CODE, EBREAK)
    yield machine
    machine.close()


def repeats(bare: Bare, handler: bytes, count: int) -> int:
    """How many repetitions were counted after `count` instructions and traps with this handler."""
    bare.put(HANDLER, handler)
    assert bare.run(count) == exits.LIMIT
    return int(bare.cpu.trap_repeats)


def test_a_vector_that_traps_is_told_after_so_many_times(bare: Bare) -> None:
    """The first two traps are no repetitions: one has another cause, the other comes from elsewhere."""
    bare.put(HANDLER, ILLEGAL)
    bare.cpu.remaining = 3 * REPEATS
    for times in (1, 2):
        assert bare.hart.step() == exits.LOST
        assert bare.cpu.trap_repeats == times * REPEATS
        assert bare.hart.instructions == 0
        assert bare.trap() == (2, HANDLER, 0)
        assert bare.cpu.pc == HANDLER
    assert bare.hart.step() == exits.LIMIT
    assert bare.cpu.trap_repeats == 3 * REPEATS - 2


@pytest.mark.parametrize("between", [0, 1, HARDLY - 1])
def test_a_handler_that_hardly_does_anything(bare: Bare, between: int) -> None:
    assert repeats(bare, NOP * between + EBREAK, 1 + 100 * (between + 1)) == 99


def test_a_handler_that_does_something(bare: Bare) -> None:
    assert repeats(bare, NOP * HARDLY + EBREAK, 2000) == 0


def test_traps_that_differ(bare: Bare) -> None:
    """In where they come from, in their cause, in their value."""
    skip = asm("csrrs", rd=5, csr=SEPC) + asm("addi", rd=5, rs1=5, imm=4) + asm("csrrw", rs1=5, csr=SEPC) + asm("sret")
    bare.put(CODE, EBREAK * 200)
    assert repeats(bare, skip, 500) == 0
    bare.cpu.pc = CODE
    assert repeats(bare, asm("addi", rd=5, rs1=5, imm=-8) + asm("ld", rs1=5), 500) == 0


def test_an_interrupt_in_between_begins_anew(bare: Bare) -> None:
    bare.put(CODE, ILLEGAL)
    assert repeats(bare, EBREAK, 50) == 48
    bare.cpu.status, bare.cpu.sie = SSTATUS_SIE, SSIP
    bare.hart.interrupt(SSIP, True)
    assert repeats(bare, EBREAK, 10) == 9
    bare.hart.interrupt(SSIP, False)


def test_a_hart_that_is_started_begins_anew(bare: Bare) -> None:
    assert repeats(bare, EBREAK, 50) > 0
    bare.hart.reset(CODE, 0, 0)
    assert bare.cpu.trap_repeats == 0
