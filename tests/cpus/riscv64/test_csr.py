"""Which control and status registers there are, in which mode, and what may be written to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.cpus.riscv64.csr import (
    CYCLE,
    FCSR,
    FFLAGS,
    FRM,
    INSTRET,
    NAMES,
    SATP,
    SCAUSE,
    SCOUNTEREN,
    SENVCFG,
    SEPC,
    SIE,
    SIP,
    SSCRATCH,
    SSTATUS,
    STIMECMP,
    STVAL,
    STVEC,
    TIME,
)
from gasang.cpus.riscv64.state import SUPERVISOR, USER
from support.bare import CODE, HANDLER, Bare, asm

ALL_ONES = (1 << 64) - 1
NUMBERS = 1 << 12
UNPRIVILEGED = {FFLAGS, FRM, FCSR}
COUNTERS = {CYCLE, TIME, INSTRET}

# What stays of all ones and of all zeros written: (register, ones, zeros).
WARL = [
    (FFLAGS, 0x1F, 0),
    (FRM, 7, 0),
    (FCSR, 0xFF, 0),
    (SSTATUS, 0x8000_0002_000C_6122, 2 << 32),
    (SIE, 0x222, 0),
    (SIP, 2, 0),
    (STVEC, ALL_ONES & ~2, 0),
    (SCOUNTEREN, 7, 0),
    (SENVCFG, 0xF1, 0),
    (SSCRATCH, ALL_ONES, 0),
    (SEPC, ALL_ONES & ~1, 0),
    (SCAUSE, ALL_ONES, 0),
    (STVAL, ALL_ONES, 0),
]


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A machine with one hart."""
    machine = Bare()
    machine.put(HANDLER, asm("jal"))
    yield machine
    machine.close()


def executed(bare: Bare, privilege: int, *words: bytes) -> bool:
    """Whether the instructions, executed in this mode, all did without trapping as illegal."""
    bare.put(CODE, asm("fence.i"), *words)
    bare.cpu.pc = CODE
    bare.enter(privilege)
    before = bare.hart.instructions
    bare.run(1 + len(words))
    done = bare.hart.instructions - before == 1 + len(words)
    if not done:
        assert bare.cpu.scause == 2
        assert bare.cpu.stval == int.from_bytes(words[-1], "little")
    return done


@pytest.mark.parametrize("privilege", [USER, SUPERVISOR])
def test_which_registers_can_be_read(bare: Bare, privilege: int) -> None:
    bare.cpu.scounteren = 0
    found = {number for number in range(NUMBERS) if executed(bare, privilege, asm("csrrs", csr=number, rd=5))}
    assert found == (set(NAMES) if privilege == SUPERVISOR else UNPRIVILEGED)


@pytest.mark.parametrize("privilege", [USER, SUPERVISOR])
def test_which_registers_can_be_written(bare: Bare, privilege: int) -> None:
    bare.cpu.scounteren = 7
    words = [asm("csrrw", csr=number, rd=0, rs1=0) for number in range(NUMBERS)]
    found = {number for number, word in enumerate(words) if executed(bare, privilege, word)}
    assert found == (set(NAMES) - COUNTERS if privilege == SUPERVISOR else UNPRIVILEGED)


@pytest.mark.parametrize("counter", sorted(COUNTERS))
def test_user_mode_reads_a_counter_with_leave(bare: Bare, counter: int) -> None:
    for enabled in range(8):
        bare.cpu.scounteren = enabled
        assert executed(bare, USER, asm("csrrs", csr=counter, rd=5)) == bool(enabled >> (counter & 3) & 1)


@pytest.mark.parametrize(("number", "ones", "zeros"), WARL, ids=[NAMES[row[0]] for row in WARL])
def test_what_stays_of_what_is_written(bare: Bare, number: int, ones: int, zeros: int) -> None:
    write_ones, write_zeros = asm("csrrw", csr=number, rs1=6), asm("csrrw", csr=number)
    bare.put(CODE, write_ones, asm("csrrs", csr=number, rd=5), write_zeros, asm("csrrs", csr=number, rd=7))
    bare.cpu.x[6] = ALL_ONES
    bare.cpu.sie = 0
    bare.cpu.stimecmp = ALL_ONES
    bare.run(2)
    assert bare.cpu.x[5] == ones
    bare.cpu.fs = 3
    bare.run(2)
    assert bare.cpu.x[7] == zeros


@pytest.mark.parametrize("cbie", [0, 1, 2, 3])
def test_senvcfgs_reserved_encoding(bare: Bare, cbie: int) -> None:
    bare.cpu.x[6] = cbie << 4
    assert executed(bare, SUPERVISOR, asm("csrrw", csr=SENVCFG, rs1=6))
    assert bare.cpu.senvcfg == (0 if cbie == 2 else cbie << 4)


@pytest.mark.parametrize(("name", "operands"), [("csrrs", {}), ("csrrc", {}), ("csrrsi", {}), ("csrrci", {})])
def test_read_only_registers_may_be_set_to_nothing(bare: Bare, name: str, operands: dict[str, int]) -> None:
    assert executed(bare, SUPERVISOR, asm(name, csr=INSTRET, rd=5, **operands))
    register = {"zimm": 1} if name.endswith("i") else {"rs1": 9}
    assert not executed(bare, SUPERVISOR, asm(name, csr=INSTRET, rd=5, **register))


@pytest.mark.parametrize("number", [FFLAGS, FRM, FCSR])
def test_floating_point_registers_need_fs(bare: Bare, number: int) -> None:
    word = asm("csrrs", csr=number, rd=5)
    assert executed(bare, USER, word)
    bare.cpu.fs = 0
    assert not executed(bare, USER, word)


@pytest.mark.parametrize(
    "word",
    [
        asm("fadd.s", fd=1),
        asm("fsgnj.d", fd=1),
        asm("flw", fd=1, rs1=9),
        asm("c.fldsp", fd=1, imm=0),
        asm("fcvt.d.l", fd=1, rs1=2),
        asm("csrrwi", csr=FFLAGS, zimm=1),
        asm("csrrwi", csr=FRM, zimm=1),
    ],
)
@pytest.mark.parametrize("state", [1, 2])
def test_what_makes_the_state_dirty(bare: Bare, word: bytes, state: int) -> None:
    """A kernel saves only dirty registers: one that is not marked is lost."""
    bare.cpu.fs = state
    bare.cpu.x[9] = bare.cpu.x[2] = CODE + 64
    bare.put(CODE, word)
    bare.run(1)
    assert bare.cpu.scause == 0
    assert bare.cpu.fs == 3


def test_the_timer_compare_register_makes_and_clears_the_interrupt(bare: Bare) -> None:
    bare.cpu.x[6] = ALL_ONES
    assert executed(bare, SUPERVISOR, asm("csrrw", csr=STIMECMP, rs1=0), asm("csrrs", csr=SIP, rd=5))
    assert bare.cpu.x[5] == 0x20
    assert executed(bare, SUPERVISOR, asm("csrrw", csr=STIMECMP, rs1=6), asm("csrrs", csr=SIP, rd=5))
    assert bare.cpu.x[5] == 0


def test_only_the_software_interrupt_can_be_written_to_sip(bare: Bare) -> None:
    bare.cpu.x[6], bare.cpu.stimecmp = ALL_ONES, ALL_ONES
    bare.hart.interrupt(0x200, True)
    assert executed(bare, SUPERVISOR, asm("csrrw", csr=SIP), asm("csrrs", csr=SIP, rd=5))
    assert executed(bare, SUPERVISOR, asm("csrrw", csr=SIP, rs1=6), asm("csrrs", csr=SIP, rd=7))
    assert (bare.cpu.x[5], bare.cpu.x[7]) == (0x200, 0x202)


def test_satp_keeps_the_address_space(bare: Bare) -> None:
    bare.cpu.x[6] = 0xFFFF << 44
    assert executed(bare, SUPERVISOR, asm("csrrw", csr=SATP, rs1=6), asm("csrrs", csr=SATP, rd=5))
    assert bare.cpu.x[5] == 0xFFFF << 44
