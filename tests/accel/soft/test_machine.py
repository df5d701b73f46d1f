"""The software machine: exact counts, sleep that costs nothing, timers in time, an end from any thread, and lost guests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.trap import INSTRUCTION_ACCESS_FAULT, LOAD_ACCESS_FAULT, SSIP, STORE_ACCESS_FAULT
from support.assembler import (
    ECALL,
    SIE,
    STIMECMP,
    STVEC,
    T0,
    T1,
    T2,
    TIME,
    WFI,
    ZERO,
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
SUPERVISOR_TIMER = 1 << 5

FOREVER = assemble(jump(0))
IDLE = assemble(WFI, jump(-4))


def countdown(turns: int) -> bytes:
    """Executes 1 + 2 * turns instructions, then calls the environment."""
    return assemble(addi(T0, ZERO, turns), addi(T0, T0, -1), ("bne", {"rs1": T0, "rs2": ZERO, "imm": -4}), ECALL)


def finish(machine: SoftMachine, a1: int = 0) -> Hart:
    """Run until it ends by itself; hart 0."""
    machine.start(BASE, a1)
    machine.join()
    return machine.harts[0]


@pytest.mark.parametrize("turns", [1, 2, 449, 450, 451, 2000])
def test_instructions_are_counted_exactly(turns: int, make_machine: Maker) -> None:
    machine = make_machine(countdown(turns))
    finish(machine)
    assert machine.instructions == 1 + 2 * turns


@given(allowed=st.lists(st.integers(0, 3000), max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_more_instructions_than_are_allowed(allowed: list[int], make_machine: Maker) -> None:
    machine = make_machine(FOREVER)
    hart = machine.harts[0]
    hart.reset(BASE, 0, 0)
    hart.cpu.remaining = 0
    for count in allowed:
        before = hart.instructions
        hart.cpu.remaining = count
        assert hart.step() == exits.LIMIT
        assert hart.instructions == before + count


def test_a_hart_begins_with_its_number_and_what_it_is_given(make_machine: Maker) -> None:
    hart = finish(make_machine(assemble(ECALL)), a1=0xFFFF_FFFF_FFFF_FFF8)
    assert list(hart.cpu.x[10:12]) == [0, 0xFFFF_FFFF_FFFF_FFF8]


def test_stop_from_another_thread_ends_the_machine(make_machine: Maker) -> None:
    for program in (FOREVER, IDLE):
        machine = make_machine(program, harts=2)
        machine.start(BASE, 0)
        threads = [hart.thread for hart in machine.harts if hart.thread is not None]
        assert all(thread.is_alive() for thread in threads)
        threading.Thread(target=machine.stop).start()
        machine.join()
        assert not any(thread.is_alive() for thread in threads)


def test_what_ends_a_hart_by_accident_is_told_and_ends_the_others(make_machine: Maker) -> None:
    machine = make_machine(assemble(ECALL), harts=3)

    def broken(hart: Hart) -> None:
        raise ZeroDivisionError("on purpose")

    machine.firmware = broken
    machine.start(BASE, 0)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        machine.join()
    assert not any(hart.thread is not None and hart.thread.is_alive() for hart in machine.harts)
    machine.failure = None


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="this host does not tell a thread's CPU time")
def test_an_idle_hart_costs_nothing(make_machine: Maker) -> None:
    machine = make_machine(IDLE, harts=2)
    machine.start(BASE, 0)
    clocks = [time.pthread_getcpuclockid(hart.thread.ident) for hart in machine.harts if hart.thread and hart.thread.ident]
    before = sum(time.clock_gettime(clock) for clock in clocks)
    assert not machine.stopping.wait(1.0)
    used = sum(time.clock_gettime(clock) for clock in clocks) - before
    machine.stop()
    machine.join()
    assert len(clocks) == 2
    assert used < 0.02
    assert machine.instructions < 1000


def alarm(delay: int, wait: bytes) -> bytes:
    """Sets the timer `delay` ticks ahead (T1 = when), enables its interrupt, and executes `wait`; T2 = when it came."""
    handler = 4 * 11 + len(wait)
    return (
        assemble(
            auipc(T0), addi(T0, T0, handler), write_csr(STVEC, T0),
            addi(T0, ZERO, SUPERVISOR_TIMER), write_csr(SIE, T0),
            lui(T0, delay), read_csr(T1, TIME), ("add", {"rd": T1, "rs1": T1, "rs2": T0}), write_csr(STIMECMP, T1),
            ("csrrsi", {"rd": 0, "zimm": 2, "csr": 0x100}), addi(ZERO, ZERO, 0),
        )
        + wait
        + assemble(read_csr(T2, TIME), ECALL)
    )  # fmt: skip


@pytest.mark.parametrize("wait", [FOREVER, IDLE], ids=["busy", "asleep"])
def test_a_timer_interrupt_comes_in_time(wait: bytes, make_machine: Maker) -> None:
    delay = 1 << 16  # 6.6 ms
    late = []
    for _ in range(7):
        hart = finish(make_machine(alarm(delay, wait)))
        assert hart.cpu.scause == 1 << 63 | 5
        late.append((hart.cpu.x[T2] - hart.cpu.x[T1]) / TIMEBASE)
    assert 0 <= min(late) < 0.02  # on a busy host some are later


def test_an_interrupt_wakes_a_sleeper(make_machine: Maker) -> None:
    handler = assemble(ECALL)
    setup = assemble(auipc(T0), addi(T0, T0, 32), write_csr(STVEC, T0), addi(T0, ZERO, SSIP), write_csr(SIE, T0),
                     ("csrrsi", {"rd": 0, "zimm": 2, "csr": 0x100}))  # fmt: skip
    machine = make_machine(setup + IDLE + handler)
    machine.start(BASE, 0)
    hart = machine.harts[0]
    assert not machine.stopping.wait(0.05)
    hart.interrupt(SSIP, True)
    machine.join()
    assert hart.cpu.scause == 1 << 63 | 1


class Register:
    """A device of one register at any address below RAM's, which logs what is done to it."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int, int]] = []

    def read(self, address: int, width: int) -> int:
        self.log.append(("read", address, width, 0))
        return 0xFEDC_BA98_7654_3210

    def write(self, address: int, width: int, value: int) -> None:
        self.log.append(("write", address, width, value))


@pytest.mark.parametrize(
    ("load", "width", "value"),
    [("lbu", 1, 0x10), ("lb", 1, 0x10), ("lhu", 2, 0x3210), ("lwu", 4, 0x7654_3210), ("ld", 8, 0xFEDC_BA98_7654_3210)],
)
def test_devices_are_read_and_written(load: str, width: int, value: int, make_machine: Maker) -> None:
    store = {1: "sb", 2: "sh", 4: "sw", 8: "sd"}[width]
    program = assemble(lui(T0, 0x1000_0000), (load, {"rd": T1, "rs1": T0, "imm": 8}), (store, {"rs1": T0, "rs2": T1, "imm": 16}), ECALL)
    machine = make_machine(program)
    machine.bus = register = Register()
    hart = finish(machine)
    assert hart.cpu.x[T1] == value
    assert register.log == [("read", 0x1000_0008, width, 0), ("write", 0x1000_0010, width, value)]
    assert machine.instructions == 3


@pytest.mark.parametrize(
    ("access", "cause"),
    [(("ld", {"rd": T1, "rs1": T0, "imm": 8}), LOAD_ACCESS_FAULT), (("sd", {"rs1": T0, "rs2": T1, "imm": 8}), STORE_ACCESS_FAULT)],
)
def test_where_nothing_answers_is_the_guests_fault(access: tuple[str, dict[str, int]], cause: int, make_machine: Maker) -> None:
    machine = make_machine(assemble(auipc(T0), addi(T0, T0, 20), write_csr(STVEC, T0), lui(T0, 0x1000_0000), access, ECALL))
    cpu = finish(machine).cpu
    assert (cpu.scause, cpu.stval, cpu.sepc) == (cause, 0x1000_0008, BASE + 16)
    assert machine.instructions == 4


def test_memory_written_from_outside_is_executed(make_machine: Maker) -> None:
    machine = make_machine(FOREVER)
    machine.start(BASE, 0)
    hart = machine.harts[0]
    machine.ram.write(BASE, assemble(ECALL))
    hart.request(exits.REQUEST_FENCE_I)
    machine.join()
    assert hart.cpu.pc == BASE


STEPS = 3000
ROUNDS = 8 * STEPS
"""A device access leaves the run loop without having used up what is allowed."""


def wander(machine: SoftMachine, pc: int) -> Hart:
    """Execute at most STEPS instructions wherever they lead; calls of the environment are answered with an error."""
    hart = machine.harts[0]
    hart.reset(pc, 0, 0)
    hart.cpu.stvec, hart.cpu.sepc = BASE, 0
    hart.cpu.budget = hart.cpu.quantum = 0
    hart.cpu.remaining = STEPS
    before = hart.instructions
    for _ in range(ROUNDS):
        reason = hart.step()
        if reason in (exits.LIMIT, exits.WAIT):
            break
        assert reason in (exits.SBI, exits.MMIO_READ, exits.MMIO_WRITE)
        if reason == exits.SBI:
            machine.processor.functions["complete"](hart.address)
    else:
        pytest.fail("it goes on without end")
    assert hart.instructions - before <= STEPS
    return hart


@given(pc=st.integers(0, (1 << 63) - 1).map(lambda number: number * 2))
@settings(max_examples=200, deadline=None)
def test_a_guest_that_jumps_into_nowhere_traps_for_ever(pc: int, arena: SoftMachine) -> None:
    assume(not BASE <= pc < BASE + (1 << 20))
    hart = arena.harts[0]
    hart.reset(pc, 0, 0)
    hart.cpu.stvec = pc & ~3
    hart.cpu.budget = hart.cpu.quantum = 0
    hart.cpu.remaining = STEPS
    before = hart.instructions
    assert hart.step() == exits.LIMIT
    assert hart.instructions == before
    assert hart.cpu.scause == INSTRUCTION_ACCESS_FAULT
    assert hart.cpu.stval == pc & ~3


WORDS = st.sampled_from(list(rv64)).flatmap(
    lambda instruction: st.integers(0, (1 << 8 * instruction.length) - 1).map(
        lambda bits: (instruction.match | bits & ~instruction.mask).to_bytes(instruction.length, "little")
    )
)
REGISTERS = st.integers(0, (1 << 64) - 1) | st.integers(BASE, BASE + (1 << 20)) | st.integers(-9, 9).map(lambda number: number % (1 << 64))


@pytest.fixture(scope="module")
def arena() -> Iterator[SoftMachine]:
    machine = bare_machine()
    yield machine
    machine.close()


@given(code=st.binary(max_size=400) | st.lists(WORDS, max_size=100).map(b"".join), registers=st.lists(REGISTERS, min_size=31, max_size=31))
@settings(max_examples=300, deadline=None)
def test_a_guest_that_executes_garbage_harms_itself_alone(arena: SoftMachine, code: bytes, registers: list[int]) -> None:
    arena.ram.write(BASE, bytes(4096))
    arena.ram.write(BASE + 256, code)
    for number, value in enumerate(registers, 1):
        arena.harts[0].cpu.x[number] = value
    hart = wander(arena, BASE + 256)
    assert hart.cpu.x[0] == 0
    assert hart.cpu.privilege in (0, 1)
