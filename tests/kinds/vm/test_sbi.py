"""The supervisor binary interface: each call's answer, its effect, and what hostile arguments get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64.trap import SSIP
from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.kinds.vm import sbi
from gasang.kinds.vm.sbi import (
    ALL_HARTS,
    ALREADY_AVAILABLE,
    BASE,
    DBCN,
    FAILED,
    HSM,
    INVALID_ADDRESS,
    INVALID_PARAMETER,
    IPI,
    NOT_SUPPORTED,
    RFENCE,
    SRST,
    SUCCESS,
    TABLE,
    TIME,
    Sbi,
)  # fmt: skip
from support.assembler import A0, A1, A6, A7, ECALL, T0, T1, T2, ZERO, addi, assemble, jump
from support.machines import RAM_BASE, bare_machine

HARTS = 3
RAM_SIZE = 1 << 20
PC = RAM_BASE + 0x100
MINUS_ONE = (1 << 64) - 1


@dataclass
class World:
    """A machine that does not run, its firmware, and what that did."""

    machine: SoftMachine
    console: bytearray = field(default_factory=bytearray)
    power: list[PowerRequest] = field(default_factory=list)
    typed: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.firmware = Sbi(self.machine, self.console.extend, self._take, self.power.append)

    def _take(self, most: int) -> bytes:
        """What was typed, `most` bytes of it at most; each is given once."""
        taken = bytes(self.typed[:most])
        del self.typed[:most]
        return taken

    def call(self, extension: int, function: int = 0, *arguments: int) -> tuple[int, int]:
        """What hart 0 gets: (error, value), the error signed. The other argument registers hold rubbish."""
        hart = self.machine.harts[0]
        hart.cpu.pc = PC
        for number, value in enumerate((*arguments, *(0xDEAD,) * 6)[:6]):
            hart.cpu.x[10 + number] = value
        hart.cpu.x[16], hart.cpu.x[17] = function, extension
        self.firmware(hart)
        assert hart.cpu.pc == PC + 4
        error = int(hart.cpu.x[10])
        return error - (1 << 64) if error >> 63 else error, int(hart.cpu.x[11])

    def pending(self) -> list[bool]:
        """Of which harts a software interrupt is pending."""
        return [bool(hart.cpu.sip & SSIP) for hart in self.machine.harts]


@pytest.fixture
def world() -> Iterator[World]:
    machine = bare_machine(harts=HARTS, memory=RAM_SIZE)
    machine.harts[0].running = True
    yield World(machine)
    machine.close()


def test_base(world: World) -> None:
    assert world.call(BASE, 0) == (SUCCESS, 2 << 24)
    assert world.call(BASE, 1) == (SUCCESS, sbi.IMPLEMENTATION)
    assert world.call(BASE, 2) == (SUCCESS, 1)
    assert [world.call(BASE, function) for function in (4, 5, 6)] == [(SUCCESS, 0)] * 3


def test_what_is_there_can_be_probed(world: World) -> None:
    for extension in (BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, 1, 2, 8):
        assert world.call(BASE, 3, extension) == (SUCCESS, 1)
    for extension in (0x504D55, 0x535441, MINUS_ONE):
        assert world.call(BASE, 3, extension) == (SUCCESS, 0)


@pytest.mark.parametrize(
    ("extension", "function"),
    [(BASE, 7), (IPI, 1), (RFENCE, 3), (HSM, 9), (SRST, 1), (DBCN, 3), (0x999, 0), (MINUS_ONE, MINUS_ONE)],
)
def test_what_is_not_there_is_not_supported(extension: int, function: int, world: World) -> None:
    assert world.call(extension, function) == (NOT_SUPPORTED, 0)


@pytest.mark.parametrize(
    ("mask", "base", "reached"),
    [(0b001, 0, [0]), (0b101, 0, [0, 2]), (0b11, 1, [1, 2]), (0, 0, []), (0, ALL_HARTS, [0, 1, 2]), (MINUS_ONE, ALL_HARTS, [0, 1, 2])],
)
def test_interrupts_reach_the_harts_of_the_mask(mask: int, base: int, reached: list[int], world: World) -> None:
    assert world.call(IPI, 0, mask, base) == (SUCCESS, 0)
    assert world.pending() == [number in reached for number in range(HARTS)]
    assert [hart.wakeup.is_set() for hart in world.machine.harts] == [number in reached for number in range(HARTS)]


def test_an_interrupt_that_is_set_already_is_not_sent_twice(world: World) -> None:
    world.machine.harts[0].cpu.has_interrupted = 1  # a hart slept when its SSIP was set, and has taken it since
    assert world.call(IPI, 0, 0b110, 0) == (SUCCESS, 0)
    assert world.pending() == [False, False, False]
    assert [hart.wakeup.is_set() for hart in world.machine.harts] == [False, True, True]
    assert world.call(IPI, 0, 0b100, 0) == (SUCCESS, 0)
    assert world.pending() == [False, False, True]


@pytest.mark.parametrize(("mask", "base"), [(0b1000, 0), (1, 3), (MINUS_ONE, 0), (1, MINUS_ONE - 1), (1, 1 << 63)])
def test_harts_that_do_not_exist_are_refused(mask: int, base: int, world: World) -> None:
    for extension, function in ((IPI, 0), (RFENCE, 0), (RFENCE, 1), (RFENCE, 2)):
        assert world.call(extension, function, mask, base) == (INVALID_PARAMETER, 0)
    assert world.pending() == [False] * HARTS


def test_a_hart_is_started_once(world: World) -> None:
    target = world.machine.harts[2]
    assert world.call(HSM, 2, 2) == (SUCCESS, sbi.HART_STOPPED)
    assert world.call(HSM, 0, 2, RAM_BASE + 8, 77) == (SUCCESS, 0)
    assert (target.running, target.cpu.pc, target.cpu.x[A0], target.cpu.x[A1]) == (True, RAM_BASE + 8, 2, 77)
    assert target.wakeup.is_set()
    assert world.call(HSM, 2, 2) == (SUCCESS, sbi.HART_STARTED)
    assert world.call(HSM, 0, 2, RAM_BASE, 0) == (ALREADY_AVAILABLE, 0)
    assert world.call(HSM, 0, 0, RAM_BASE, 0) == (ALREADY_AVAILABLE, 0)


@pytest.mark.parametrize("number", [HARTS, 1 << 32, MINUS_ONE])
def test_no_hart_of_that_number(number: int, world: World) -> None:
    assert world.call(HSM, 0, number, RAM_BASE, 0) == (INVALID_PARAMETER, 0)
    assert world.call(HSM, 2, number) == (INVALID_PARAMETER, 0)


@pytest.mark.parametrize("address", [0, RAM_BASE - 4, RAM_BASE + RAM_SIZE, MINUS_ONE])
def test_a_hart_is_not_started_where_there_is_no_memory(address: int, world: World) -> None:
    assert world.call(HSM, 0, 1, address, 0) == (INVALID_ADDRESS, 0)
    assert not world.machine.harts[1].running


def test_a_hart_that_stops_is_not_answered(world: World) -> None:
    """Another may have started it anew before the call is over: its registers are no longer the firmware's."""
    hart = world.machine.harts[0]
    assert world.call(HSM, 1, 123, 456) == (123, 456)
    assert not hart.running


@pytest.mark.parametrize(
    ("kind", "reason", "asked"),
    [
        (0, 0, PowerRequest(PowerAction.OFF, 0)),
        (0, 1, PowerRequest(PowerAction.FAIL, 1)),
        (1, 0, PowerRequest(PowerAction.RESET, 0)),
        (2, 1, PowerRequest(PowerAction.RESET, 0)),
    ],
)
def test_power(kind: int, reason: int, asked: PowerRequest, world: World) -> None:
    assert world.call(SRST, 0, kind, reason) == (SUCCESS, 0)
    assert world.power == [asked]


@pytest.mark.parametrize(("kind", "reason"), [(3, 0), (1 << 32, 0), (MINUS_ONE, 0), (0, 2), (1, 0xE000_0000), (2, MINUS_ONE)])
def test_no_reset_of_that_kind_or_for_that_reason(kind: int, reason: int, world: World) -> None:
    assert world.call(SRST, 0, kind, reason) == (INVALID_PARAMETER, 0)
    assert world.power == []


def test_the_debug_console(world: World) -> None:
    world.machine.ram.write(RAM_BASE + 100, b"hello")
    assert world.call(DBCN, 0, 5, RAM_BASE + 100, 0) == (SUCCESS, 5)
    assert world.call(DBCN, 2, 0x1_0A) == (SUCCESS, 0)
    assert bytes(world.console) == b"hello\n"
    assert world.call(DBCN, 0, 0, RAM_BASE, 0) == (SUCCESS, 0)
    assert world.call(DBCN, 1, 5, RAM_BASE, 0) == (SUCCESS, 0)


def test_what_was_typed_is_read_once(world: World) -> None:
    world.typed += b"abcdef"
    assert world.call(DBCN, 1, 4, RAM_BASE + 100, 0) == (SUCCESS, 4)
    assert world.machine.ram.read(RAM_BASE + 100, 5) == b"abcd\0"
    assert world.call(2, 99, 0, 5) == (ord("e"), 5)
    assert world.call(DBCN, 1, 4, RAM_BASE + RAM_SIZE - 4, 0) == (SUCCESS, 1)
    assert world.machine.ram.read(RAM_BASE + RAM_SIZE - 4, 4) == b"f\0\0\0"


def test_a_long_write_is_done_in_part(world: World) -> None:
    assert world.call(DBCN, 0, RAM_SIZE, RAM_BASE, 0) == (SUCCESS, sbi.MAX_WRITE)
    assert len(world.console) == sbi.MAX_WRITE


@pytest.mark.parametrize(
    ("length", "low", "high"),
    [(1, 0, 0), (2, RAM_BASE + RAM_SIZE - 1, 0), (1, RAM_BASE, 1), (9, RAM_BASE - 8, 0), (MINUS_ONE, RAM_BASE, 0)],
)
def test_bytes_that_are_not_in_memory(length: int, low: int, high: int, world: World) -> None:
    world.typed += b"typed"
    for function in (0, 1):
        assert world.call(DBCN, function, length, low, high) == (INVALID_PARAMETER, 0)
    assert world.console == b""
    assert world.typed == b"typed"


def test_the_legacy_calls_leave_a1_alone(world: World) -> None:
    assert world.call(1, 99, 0x141, 5) == (SUCCESS, 5)
    assert bytes(world.console) == b"A"
    assert world.call(2, 99, 0, 5) == (FAILED, 5)
    assert world.call(8, 99, 0, 5) == (SUCCESS, 5)
    assert world.power == [PowerRequest(PowerAction.OFF)]
    assert world.call(5, 0, 0, 5) == (NOT_SUPPORTED, 5)


UNANSWERED = (HSM, 1)
NUMBERS = st.sampled_from([0, 1, 2, 3, RAM_BASE, RAM_BASE + RAM_SIZE - 1, 1 << 63, MINUS_ONE]) | st.integers(0, MINUS_ONE)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    machine = bare_machine(harts=HARTS, memory=RAM_SIZE)
    machine.harts[0].running = True  # it calls, so it cannot be started
    machine.stopping.set()  # no hart lives here, and a fence is to wait for none
    yield World(machine)
    machine.close()


ROWS = (st.sampled_from(sorted(TABLE)) | st.tuples(NUMBERS, NUMBERS)).filter(lambda row: row != UNANSWERED)


@given(row=ROWS, arguments=st.lists(NUMBERS, max_size=6))
@settings(max_examples=500, deadline=None)
def test_any_arguments_are_answered(shared: World, row: tuple[int, int], arguments: list[int]) -> None:
    for hart in shared.machine.harts[1:]:
        hart.running = False  # whatever an earlier example started
    shared.console.clear()
    shared.power.clear()
    error, _ = shared.call(*row, *arguments)
    assert -9 <= error <= 0


WAITS = assemble(jump(0))


@pytest.mark.parametrize("function", [0, 1, 2])
@pytest.mark.parametrize("running", [False, True])
def test_a_fence_on_all_harts_returns_when_all_have_answered(function: int, running: bool) -> None:
    """Hart 0 asks, then switches off; the others are stopped, or spin."""
    asking = assemble(addi(A0, T0, 0), ECALL, addi(T1, A0, 0), addi(T2, A1, 0), addi(A7, ZERO, 8), addi(A6, ZERO, 0), ECALL)
    machine = bare_machine(asking, harts=HARTS)
    machine.ram.write(RAM_BASE + 0x800, WAITS)
    power: list[PowerRequest] = []

    def off(request: PowerRequest) -> None:
        power.append(request)
        machine.stop()

    machine.firmware = Sbi(machine, lambda data: None, lambda most: b"", off)
    cpu = machine.harts[0].cpu
    cpu.x[A7], cpu.x[A6] = RFENCE, function
    if running:
        for hart in machine.harts[1:]:
            hart.begin(RAM_BASE + 0x800, hart.number, 0)
    machine.start(RAM_BASE, ALL_HARTS)
    machine.join()
    assert (cpu.x[T1], cpu.x[T2]) == (SUCCESS, 0)
    assert power == [PowerRequest(PowerAction.OFF)]
    machine.close()
