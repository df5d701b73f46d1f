"""Harts that stop between two instructions whenever they are asked to, and go on as if nothing had been, here or in another machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.machine import SoftMachine
from gasang.accel.soft.state import REGISTERS, load_hart, save_hart
from gasang.core.errors import BadInputError, StateError, TimedOutError
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.clock import TIMEBASE
from support.assembler import A0, A1, A2, ECALL, S0, T0, T1, T2, TIME, WFI, ZERO, Line, addi, assemble, auipc, jump, lui, read_csr
from support.machines import RAM_BASE as BASE
from support.machines import bare_machine

Maker = Callable[..., SoftMachine]
FOREVER = assemble(jump(0))
IDLE = assemble(WFI, jump(-4))
TURNS = 400


def work(turns: int) -> bytes:
    """Integers, floats, memory, LR and SC: 12 instructions a turn, then a call of the environment."""
    body: tuple[Line, ...] = (
        ("mul", {"rd": T1, "rs1": T1, "rs2": T2}),
        ("add", {"rd": T1, "rs1": T1, "rs2": S0}),
        ("fcvt.d.l", {"fd": 1, "rs1": S0, "rm": 7}),
        ("fadd.d", {"fd": 2, "fs1": 2, "fs2": 1, "rm": 7}),
        ("fmv.x.d", {"rd": A0, "fs1": 2}),
        ("sd", {"rs1": A2, "rs2": T1, "imm": 8}),
        ("lr.d", {"aq": 0, "rl": 0, "rd": A1, "rs1": A2}),
        ("add", {"rd": A1, "rs1": A1, "rs2": T1}),
        ("sc.d", {"aq": 0, "rl": 0, "rd": T0, "rs1": A2, "rs2": A1}),
        addi(S0, S0, -1),
    )
    setup = (
        auipc(A2), lui(T0, 0x2000), ("add", {"rd": A2, "rs1": A2, "rs2": T0}), addi(T1, ZERO, 7), addi(T2, ZERO, 1237), lui(T0, 0x2000),
        ("csrrs", {"rd": 0, "rs1": T0, "csr": 0x100}), addi(S0, ZERO, turns),
    )  # fmt: skip
    return assemble(*setup, *body, ("bne", {"rs1": S0, "rs2": ZERO, "imm": -4 * len(body)}), ECALL)


def outcome(machine: SoftMachine) -> tuple[list[int], list[int], bytes, int]:
    cpu = machine.harts[0].cpu
    return list(cpu.x)[:32], list(cpu.f), machine.ram.read(BASE, 1 << 16), machine.instructions


def step(machine: SoftMachine, count: int) -> int:
    """Execute so many instructions of hart 0 on this thread."""
    cpu = machine.harts[0].cpu
    cpu.budget = cpu.quantum = 0
    cpu.remaining = count
    return machine.harts[0].step()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[SoftMachine, SoftMachine]]:
    machines = bare_machine(harts=2), bare_machine(harts=2)
    yield machines
    for machine in machines:
        machine.close()


@given(after=st.integers(0, 8 + TURNS * 11))
@settings(max_examples=60, deadline=None)
def test_a_hart_moved_to_another_machine_computes_the_same(after: int, pair: tuple[SoftMachine, SoftMachine]) -> None:
    first, second = pair
    first.ram.write(BASE, bytes(1 << 16))
    first.ram.write(BASE, work(TURNS))
    hart = first.harts[0]
    load_hart(hart, save_hart(hart) | {"instructions": 0, "fs": 0})
    hart.reset(BASE, 0, 0)
    for number in range(1, 32):
        hart.cpu.x[number], hart.cpu.f[number] = 0, 0
    assert step(first, after) == exits.LIMIT
    state = save_hart(hart)
    second.ram.write(BASE, first.ram.read(BASE, 1 << 16))
    load_hart(second.harts[0], state)
    assert save_hart(second.harts[0]) == state
    for machine in pair:
        assert step(machine, 1 << 20) == exits.SBI
    assert outcome(first) == outcome(second)
    assert save_hart(hart) == save_hart(second.harts[0])


@pytest.mark.parametrize("program", [FOREVER, IDLE], ids=["busy", "asleep"])
def test_paused_harts_execute_nothing_and_go_on(program: bytes, make_machine: Maker) -> None:
    machine = make_machine(program, harts=3)
    machine.start(BASE, 0)
    for _ in range(20):
        machine.pause()
        assert machine.paused
        counts = [hart.instructions for hart in machine.harts]
        states = machine.save()
        assert not machine.stopping.wait(0.002)
        assert machine.save() == states
        assert [hart.instructions for hart in machine.harts] == counts
        machine.resume()
    before = machine.harts[0].instructions
    machine.harts[0].request(exits.REQUEST_FENCE_I)
    while program is FOREVER and machine.harts[0].instructions == before:
        pass


@pytest.mark.parametrize("pauses", [1, 30])
def test_a_computation_that_is_paused_counts_and_computes_the_same(pauses: int, make_machine: Maker) -> None:
    undisturbed, disturbed = make_machine(work(2000)), make_machine(work(2000))
    undisturbed.start(BASE, 0)
    undisturbed.join()
    disturbed.start(BASE, 0)
    for _ in range(pauses):
        try:
            disturbed.pause()
        except StateError:
            break
        disturbed.resume()
    disturbed.join()
    assert outcome(disturbed) == outcome(undisturbed)


def test_guest_time_stands_still_in_a_pause(make_machine: Maker) -> None:
    machine = make_machine(assemble(read_csr(T0, TIME), jump(-4)))
    machine.start(BASE, 0)
    machine.pause()
    time.sleep(0.2)
    before = int(machine.harts[0].cpu.x[T0])
    begun = time.perf_counter()
    machine.resume()
    machine.pause()
    went_on = time.perf_counter() - begun
    after = int(machine.harts[0].cpu.x[T0])
    assert before <= after < before + (went_on + 0.1) * TIMEBASE


class Slow:
    """A device whose every access takes a while, and waits for `go` if told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.accesses = 0

    def read(self, address: int, width: int) -> int:
        self.accesses += 1
        self.go.wait()
        return self.accesses

    def write(self, address: int, width: int, value: int) -> None:
        self.read(address, width)


DEVICE = assemble(lui(T0, 0x1000_0000), ("ld", {"rd": T1, "rs1": T0, "imm": 0}), ("sd", {"rs1": T0, "rs2": T1, "imm": 0}), jump(-8))


def test_an_access_to_a_device_is_complete_when_the_harts_stand(make_machine: Maker) -> None:
    machine = make_machine(DEVICE)
    machine.bus = device = Slow()
    machine.start(BASE, 0)
    for _ in range(200):
        machine.pause()
        cpu = machine.harts[0].cpu
        assert cpu.mmio_state == exits.MMIO_IDLE
        assert cpu.x[T1] == device.accesses - (cpu.pc == BASE + 12) if cpu.pc >= BASE + 8 else True
        machine.resume()


def test_a_hart_that_does_not_stop_is_told_and_all_go_on(make_machine: Maker) -> None:
    machine = make_machine(DEVICE, harts=2)
    machine.bus = device = Slow()
    machine.start(BASE, 0)
    device.go.clear()
    seen = device.accesses
    while device.accesses == seen:
        pass
    with pytest.raises(TimedOutError, match=r"within 0\.05 s"):
        machine.pause(0.05)
    assert not machine.paused
    device.go.set()
    machine.pause()
    machine.resume()


def test_what_cannot_be_paused_says_so(make_machine: Maker) -> None:
    machine = make_machine(assemble(ECALL))
    with pytest.raises(StateError, match="does not run"):
        machine.pause()
    with pytest.raises(StateError, match="not paused"):
        machine.resume()
    with pytest.raises(StateError, match="changes while it runs"):
        machine.save()
    told: list[BaseException] = []

    def firmware(hart: Hart) -> None:
        try:
            machine.pause()
        except StateError as error:
            told.append(error)
        machine.stop()

    machine.firmware = firmware
    machine.start(BASE, 0)
    machine.join()
    assert "its own processors" in str(told[0])
    with pytest.raises(StateError, match="does not run"):
        machine.pause()


def test_it_is_paused_by_one_at_a_time_and_ends_while_paused(make_machine: Maker) -> None:
    machine = make_machine(FOREVER, harts=2)
    machine.start(BASE, 0)
    machine.pause()
    with pytest.raises(StateError, match="paused already"):
        machine.pause()
    machine.stop()
    machine.join()
    assert not any(hart.thread is not None and hart.thread.is_alive() for hart in machine.harts)


NUMBER = st.integers(0, (1 << 64) - 1) | st.integers(-5, 40)
VALUE = NUMBER | st.none() | st.text(max_size=2) | st.lists(st.integers(0, 1 << 64), max_size=3)


@given(changes=st.dictionaries(st.sampled_from([*REGISTERS, "x", "f", "instructions", "reservation", "version"]), VALUE, max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_state_is_refused_or_harms_its_guest_alone(changes: dict[str, object], pair: tuple[SoftMachine, SoftMachine]) -> None:
    machine = pair[0]
    hart = machine.harts[0]
    machine.ram.write(BASE, FOREVER)
    hart.reset(BASE, 0, 0)
    state = save_hart(hart) | changes
    try:
        load_hart(hart, state)
    except BadInputError:
        return
    loaded = save_hart(hart)
    assert all(loaded[name] & ~mask == 0 for name, mask in REGISTERS.items())
    for _ in range(50):
        if step(machine, 2000) in (exits.LIMIT, exits.WAIT):
            break
