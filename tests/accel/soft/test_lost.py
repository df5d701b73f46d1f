"""Guests that can never go on are ended with a sentence; those that would have gone on are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.lost import PATIENCE, ROUNDS, LostGuestError, Watch, goes_around
from gasang.accel.soft.machine import SoftMachine
from gasang.core.errors import MachineDiedError
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.trap import ILLEGAL_INSTRUCTION, INSTRUCTION_ACCESS_FAULT, REPEATS
from support.assembler import (
    ECALL,
    SEPC,
    SIE,
    SSTATUS,
    STIMECMP,
    STVEC,
    T0,
    T1,
    T2,
    TIME,
    ZERO,
    Line,
    addi,
    assemble,
    auipc,
    jump,
    lui,
    read_csr,
    write_csr,
)  # fmt: skip
from support.machines import RAM_BASE as BASE
from support.machines import bare_machine

Maker = Callable[..., SoftMachine]
HANDLER = 64
SSCRATCH = 0x140
SRET: Line = ("sret", {})
EBREAK: Line = ("ebreak", {})
ILLEGAL = bytes(4)
FLAG = 0x1000
"""Where a guest keeps a flag: so far behind where it loads its own address."""


def guest(main: tuple[Line, ...], *handler: Line) -> bytes:
    """Sets stvec to the handler and runs `main`."""
    setup = assemble(auipc(T0), addi(T0, T0, HANDLER), write_csr(STVEC, T0), *main)
    assert len(setup) <= HANDLER
    return setup.ljust(HANDLER, b"\0") + assemble(*handler)


def told(machine: SoftMachine) -> LostGuestError:
    """What ends the machine."""
    machine.start(BASE, 0)
    with pytest.raises(LostGuestError) as caught:
        machine.join()
    machine.failure = None
    return caught.value


NOWHERE = assemble(addi(T0, ZERO, 1), ("slli", {"rd": T0, "rs1": T0, "imm": 40}), write_csr(STVEC, T0), EBREAK)
LOST = {
    "a vector in nowhere": (
        NOWHERE,
        "cannot be executed (fetch access fault, stval 0x10000000000, scause 1, sepc 0x10000000000, stvec 0x1",
    ),
    "a vector that is no instruction": (
        guest((EBREAK,)),
        "cannot be executed (illegal instruction, stval 0x0, scause 2, sepc 0x80000040, stvec 0x80000040)",
    ),
    "a vector that is a breakpoint": (guest((EBREAK,), EBREAK), "cannot be executed (breakpoint, stval 0x80000040, scause 3, sepc"),
    "a vector that loads from nowhere": (
        guest((EBREAK,), ("ld", {"rd": 0, "rs1": 0, "imm": 8})),
        "cannot be executed (load access fault, stval 0x8, scause 5",
    ),
    "a handler whose third instruction is none": (
        guest((EBREAK,), addi(T1, ZERO, 1), ("csrrw", {"rd": T2, "rs1": T2, "csr": SSCRATCH})),
        "for ever (illegal instruction, stval 0x0, scause 2, sepc 0x80000048",
    ),
    "a handler that returns to the fault": (guest((EBREAK,), SRET), "for ever (breakpoint, stval 0x8000000c, scause 3, sepc 0x8000000c"),
    "a handler that jumps to the fault": (guest((EBREAK,), jump(12 - HANDLER)), "for ever (breakpoint"),
}


@pytest.mark.parametrize("what", LOST)
def test_a_lost_guest_ends_with_a_sentence(what: str, make_machine: Maker) -> None:
    program, words = LOST[what]
    error = told(make_machine(program))
    assert error.subject == "guest, hart 0"
    assert words in error.cause
    assert isinstance(error, MachineDiedError)
    assert error.exit_code == 125
    assert "\n" not in str(error)


def test_all_harts_end_with_the_lost_one(make_machine: Maker) -> None:
    machine = make_machine(assemble(ECALL, jump(0)), harts=3)
    machine.ram.write(BASE + 0x100, NOWHERE)

    def start_last(hart: Hart) -> None:
        machine.processor.functions["complete"](hart.address)
        machine.harts[2].begin(BASE + 0x100, 2, 0)

    machine.firmware = start_last
    assert told(machine).subject == "guest, hart 2"
    assert not any(hart.thread is not None and hart.thread.is_alive() for hart in machine.harts)


MANY = 5 * REPEATS
COUNT = (lui(T1, MANY & ~0xFFF),)
COUNT_DOWN = (addi(T1, T1, -1), ("bne", {"rs1": T1, "rs2": ZERO, "imm": 8}), ECALL)
IN_MEMORY = (
    read_csr(T1, SSCRATCH), addi(T1, T1, 1), write_csr(SSCRATCH, T1),
    lui(T2, MANY & ~0xFFF), ("bne", {"rs1": T1, "rs2": T2, "imm": 8}), ECALL,
)  # fmt: skip
COUNTER = (
    auipc(T2, FLAG), ("ld", {"rd": T1, "rs1": T2, "imm": 0}), addi(T1, T1, 1), ("sd", {"rs2": T1, "rs1": T2, "imm": 0}),
    lui(T2, MANY & ~0xFFF), ("bne", {"rs1": T1, "rs2": T2, "imm": 8}), ECALL, addi(T1, ZERO, 0), addi(T2, ZERO, 0),
)  # fmt: skip
GOES_ON = {
    "counting down in a register": guest((*COUNT, EBREAK), *COUNT_DOWN, EBREAK),
    "counting down and returning": guest((*COUNT, EBREAK), *COUNT_DOWN, SRET),
    "counting in a CSR": guest((EBREAK,), *IN_MEMORY, addi(T1, ZERO, 0), EBREAK),
    "counting in memory, the registers cleared": guest((EBREAK,), *COUNTER, EBREAK),
    "waiting for a time": guest((read_csr(T1, TIME), lui(T0, 2 * TIMEBASE & ~0xFFF), ("add", {"rd": T1, "rs1": T1, "rs2": T0}), EBREAK),
                                read_csr(T0, TIME), ("bltu", {"rs1": T0, "rs2": T1, "imm": 8}), ECALL, addi(T0, ZERO, 0), EBREAK),
}  # fmt: skip


@pytest.mark.parametrize("what", GOES_ON)
def test_a_guest_that_traps_a_lot_is_left_alone(what: str, make_machine: Maker) -> None:
    machine = make_machine(GOES_ON[what])
    for hart in machine.harts:
        hart.watch = Watch(hart, iter(range(1 << 30)).__next__)  # each look comes a second after the one before
    machine.start(BASE, 0)
    machine.join()
    assert machine.harts[0].cpu.pc % 4 == 0


def test_a_guest_that_an_interrupt_saves_is_left_alone(make_machine: Maker) -> None:
    """Its traps return with interrupts on, and a timer comes after three times the patience; cause 5 ends it."""
    after = lui(T0, int(3 * PATIENCE * TIMEBASE) & ~0xFFF)
    main = (read_csr(T1, TIME), after, ("add", {"rd": T1, "rs1": T1, "rs2": T0}), write_csr(STIMECMP, T1), addi(T0, ZERO, 1 << 5),
            write_csr(SIE, T0), ("csrrsi", {"rd": 0, "zimm": 2, "csr": SSTATUS}), EBREAK)  # fmt: skip
    machine = make_machine(guest(main, read_csr(T2, 0x142), ("bge", {"rs1": T2, "rs2": ZERO, "imm": 8}), ECALL, SRET))
    machine.start(BASE, 0)
    machine.join()
    assert machine.harts[0].cpu.scause == 1 << 63 | 5


@pytest.mark.parametrize("harts", [1, 2])
def test_a_guest_that_waits_for_memory_is_left_alone(harts: int, make_machine: Maker) -> None:
    """It polls a flag with a trap each time, longer than the patience."""
    poll = (("ld", {"rd": T1, "rs1": T2, "imm": 0}), ("beq", {"rs1": T1, "rs2": ZERO, "imm": 8}), ECALL, EBREAK)
    machine = make_machine(guest((auipc(T2, FLAG), EBREAK), *poll), harts)
    machine.start(BASE, 0)
    assert not machine.stopping.wait(3 * PATIENCE)
    machine.ram.write(BASE + 12 + FLAG, b"\1")
    machine.join()
    assert machine.harts[0].cpu.x[T1] == 1


def test_a_guest_may_be_mended_from_outside(make_machine: Maker) -> None:
    machine = make_machine(guest((EBREAK,)))
    hart = machine.harts[0]
    looks: list[int] = []

    def now() -> float:
        looks.append(1)
        machine.ram.write(BASE + HANDLER, assemble(ECALL))
        hart.request(exits.REQUEST_FENCE_I)
        return 0.0

    hart.watch = Watch(hart, now)
    machine.start(BASE, 0)
    machine.join()
    assert looks == [1]
    assert hart.cpu.pc == BASE + HANDLER


def trapped(machine: SoftMachine) -> Hart:
    """Hart 0 of a machine that runs into a trap it cannot take, having trapped as often as it takes to be looked at twice."""
    hart = machine.harts[0]
    hart.reset(BASE, 0, 0)
    while hart.cpu.trap_repeats < 2 * REPEATS:
        assert hart.step() == exits.LOST
    return hart


def test_patience_begins_with_the_first_look_at_a_trap(make_machine: Maker) -> None:
    hart = trapped(make_machine(NOWHERE))
    times = iter([0.0, PATIENCE - 0.01, 100.0, 100.4, 100.5])
    watch = Watch(hart, times.__next__)
    watch.look()
    watch.look()
    hart.cpu.trap_repeats = REPEATS  # another trap than before
    watch.look()
    hart.cpu.trap_repeats = 2 * REPEATS
    watch.look()
    with pytest.raises(LostGuestError):
        watch.look()


def test_looking_costs_no_instruction_and_loses_none(make_machine: Maker) -> None:
    machine = make_machine(guest((EBREAK,), addi(T1, ZERO, 1)))
    hart = trapped(machine)
    before = hart.instructions
    assert before == 3 + hart.cpu.trap_repeats + 1
    assert goes_around(hart)
    assert hart.instructions == before + 1
    assert hart.step() == exits.LOST
    assert hart.instructions == 3 + hart.cpu.trap_repeats + 1


def test_a_hart_whose_traps_are_watched_is_judged_like_any(make_machine: Maker) -> None:
    hart = trapped(make_machine(guest((EBREAK,), addi(T1, ZERO, 1))))
    hart.cpu.watches_traps = 1
    assert goes_around(hart)
    assert hart.cpu.watches_traps == 1
    assert hart.step() == exits.TRAP


def test_a_stop_during_the_look_is_answered(make_machine: Maker) -> None:
    machine = make_machine(guest((EBREAK,), addi(T1, ZERO, 1)))
    hart = trapped(machine)
    ticket = hart.ask_answer(exits.REQUEST_FLUSH_TLB)
    assert not goes_around(hart)
    assert hart.answers == ticket
    assert goes_around(hart)


MIXED = ("I", "M", "Zbb", "Zicsr", "S", "A", "D", "C")
WORDS = st.sampled_from([instruction for instruction in rv64 if instruction.extension in MIXED]).flatmap(
    lambda instruction: st.integers(0, (1 << 8 * instruction.length) - 1).map(
        lambda bits: (instruction.match | bits & ~instruction.mask).to_bytes(instruction.length, "little")
    )
)
REGISTERS = st.integers(0, (1 << 64) - 1) | st.integers(BASE, BASE + 8192) | st.integers(0, 9)
CSRS = st.sampled_from([SSTATUS, SIE, SSCRATCH, STVEC, SEPC, TIME, 0x144, 0xC02]).flatmap(
    lambda number: st.sampled_from(["csrrw", "csrrs", "csrrc"]).flatmap(
        lambda name: st.tuples(st.integers(0, 31), st.integers(0, 31)).map(
            lambda registers: assemble((name, {"rd": registers[0], "rs1": registers[1], "csr": number}))
        )
    )
)


def registers(hart: Hart) -> tuple[int, ...]:
    """x0 to x31, and what a trap leaves in the CSRs."""
    cpu = hart.cpu
    return (*cpu.x[:32], int(cpu.sepc), int(cpu.scause), int(cpu.stval), int(cpu.status), int(cpu.privilege))


def goes_on(hart: Hart) -> bool | None:
    """Execute until a trap that `goes_around` says will come again, and see whether it does not; None if there is none soon."""
    for _ in range(40):
        before = hart.instructions
        if hart.single() not in (exits.LIMIT, exits.STOPPED):
            return None
        if hart.instructions == before and goes_around(hart):
            break
    else:
        return None
    traps = [registers(hart)]
    for _ in range(200):
        before = hart.instructions
        if hart.single() != exits.LIMIT:
            return True
        if hart.instructions == before:
            traps.append(registers(hart))
    return any(now != then for now, then in zip(traps[ROUNDS:], traps, strict=False))


@pytest.fixture(scope="module")
def arena() -> Iterator[SoftMachine]:
    machine = bare_machine()
    yield machine
    machine.close()


def test_what_is_proved_comes_true(arena: SoftMachine) -> None:
    """A hart that is said to go around traps the same way or two with the same registers ever after, whatever its handler."""
    proved = []

    @given(code=st.lists(WORDS | CSRS | st.just(assemble(SRET)), max_size=6).map(b"".join), sie=st.sampled_from([0, 0x222]), data=st.data())
    @settings(max_examples=200, deadline=None)
    def check(code: bytes, sie: int, data: st.DataObject) -> None:
        hart, cpu = arena.harts[0], arena.harts[0].cpu
        arena.ram.write(BASE, bytes(8192))
        arena.ram.write(BASE + HANDLER, code)
        hart.request(exits.REQUEST_FENCE_I)
        hart.reset(BASE, 0, 0)
        cpu.stvec, cpu.sepc, cpu.sie = BASE + HANDLER, BASE, sie
        for number in range(1, 32):
            cpu.x[number] = data.draw(REGISTERS)
        went_on = goes_on(hart)
        assert not went_on
        proved.append(went_on is False)

    check()
    assert sum(proved) > len(proved) // 10


def test_causes_are_those_of_the_processor(make_machine: Maker) -> None:
    for program, cause in ((NOWHERE, INSTRUCTION_ACCESS_FAULT), (guest((EBREAK,)), ILLEGAL_INSTRUCTION)):
        assert trapped(make_machine(program)).cpu.scause == cause
