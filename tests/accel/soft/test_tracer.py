from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.lost import LostGuestError
from gasang.accel.soft.machine import SoftMachine
from gasang.accel.soft.tracer import Event, Tracer, What
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.trap import REPEATS
from gasang.devices.bus import BusError

BASE = 0x8000_0000
DEVICE = 0x1000_0000


class Memory:
    """A device with one register."""

    def read(self, address: int, width: int) -> int:
        if address != DEVICE:
            raise BusError(address)
        return 0x41

    def write(self, address: int, width: int, value: int) -> None:
        if address != DEVICE:
            raise BusError(address)


def code(*words: tuple[str, dict[str, int]]) -> bytes:
    return b"".join(rv64.by_name[name].encode(**operands).to_bytes(4, "little") for name, operands in words)


def addi(rd: int, rs1: int, imm: int) -> tuple[str, dict[str, int]]:
    return "addi", {"rd": rd, "rs1": rs1, "imm": imm}


ECALL: tuple[str, dict[str, int]] = ("ecall", {})
READ = ("lui", {"rd": 5, "imm": DEVICE}), ("lbu", {"rd": 6, "rs1": 5, "imm": 0}), ("sb", {"rs1": 5, "rs2": 6, "imm": 0})


@pytest.fixture
def machine() -> Iterator[SoftMachine]:
    made = SoftMachine(BASE, 1 << 20, 1)
    made.bus = Memory()
    made.firmware = lambda hart: made.stop()
    yield made
    made.stop()
    made.close()


def trace(machine: SoftMachine, program: bytes, wanted: set[What], skip: int = 0) -> list[Event]:
    machine.ram.write(BASE, program)
    events: list[Event] = []
    Tracer(machine, frozenset(wanted), events.append, skip)
    machine.start(BASE, 0)
    machine.join()
    return events


def test_instructions_are_told_in_order_with_what_they_changed(machine: SoftMachine) -> None:
    events = trace(machine, code(addi(10, 0, 5), addi(10, 10, 2), ECALL), {What.INSTRUCTION})
    assert [(event.number, event.pc - BASE, event.mode) for event in events] == [(0, 0, "S"), (1, 4, "S"), (2, 8, "S")]
    assert [event.text.split() for event in events] == [["li", "a0,5", "a0=0x5"], ["addi", "a0,a0,2", "a0=0x7"], ["ecall"]]


def test_skipped_instructions_run_untold(machine: SoftMachine) -> None:
    loop = code(addi(10, 0, 1000), addi(10, 10, -1), ("bne", {"rs1": 10, "rs2": 0, "imm": -4}), addi(11, 0, 1), ECALL)
    events = trace(machine, loop, {What.INSTRUCTION}, skip=2001)
    assert [event.number for event in events] == [2001, 2002]
    assert events[0].text.split()[0] == "li"


def test_exits_are_told_with_their_values(machine: SoftMachine) -> None:
    events = trace(machine, code(*READ, addi(17, 0, 8), ECALL), {What.EXIT})
    assert [event.text for event in events] == [
        "device read, 1 bytes at 0x10000000: 0x41",
        "device write, 1 bytes at 0x10000000: 0x41",
        "firmware call 0x8 function 0, a0 0x0, a1 0x0",
    ]
    assert {event.what for event in events} == {What.EXIT}


def test_one_instruction_at_a_time_gives_the_same_exits(machine: SoftMachine) -> None:
    events = trace(machine, code(*READ, addi(17, 0, 8), ECALL), set(What))
    assert [event.what.value for event in events if event.what is not What.INSTRUCTION] == ["exit"] * 3
    assert [event.text.split()[0] for event in events if event.what is What.INSTRUCTION] == ["lui", "lbu", "sb", "li", "ecall"]


def test_an_exception_is_a_trap_and_no_instruction(machine: SoftMachine) -> None:
    set_handler = (
        ("auipc", {"rd": 5, "imm": 0}),
        addi(5, 5, 20),
        ("csrrw", {"rd": 0, "rs1": 5, "csr": 0x105}),
        ("ebreak", {}),
        addi(0, 0, 0),
        ECALL,
    )
    events = trace(machine, code(*set_handler), {What.INSTRUCTION, What.TRAP})
    assert [event.what.value for event in events] == ["instruction"] * 3 + ["trap", "instruction"]
    trap = events[3]
    assert trap.pc == BASE + 12
    assert trap.text == f"breakpoint, stval {BASE + 12:#x} → {BASE + 20:#x}"


def test_an_interrupt_is_a_trap_before_the_instruction(machine: SoftMachine) -> None:
    program = (
        ("auipc", {"rd": 5, "imm": 0}),
        addi(5, 5, 28),
        ("csrrw", {"rd": 0, "rs1": 5, "csr": 0x105}),
        addi(6, 0, 2),
        ("csrrw", {"rd": 0, "rs1": 6, "csr": 0x104}),
        ("csrrw", {"rd": 0, "rs1": 6, "csr": 0x100}),
        addi(0, 0, 0),
        ECALL,
    )
    machine.harts[0].interrupt(2, True)
    events = trace(machine, code(*program), {What.TRAP})
    assert [event.text for event in events] == [f"software interrupt → {BASE + 28:#x}"]


def test_traps_alone_are_told_at_full_speed(machine: SoftMachine) -> None:
    """Ten million instructions between two traps: one at a time they would take minutes."""
    program = (
        ("auipc", {"rd": 5, "imm": 0}),
        addi(5, 5, 36),
        ("csrrw", {"rd": 0, "rs1": 5, "csr": 0x105}),
        ("lui", {"rd": 6, "imm": 5_000_000 & ~0xFFF}),
        addi(6, 6, -1),
        ("bne", {"rs1": 6, "rs2": 0, "imm": -4}),
        ("ebreak", {}),
        addi(0, 0, 0),
        addi(0, 0, 0),
        ECALL,
    )
    begin = time.monotonic()
    events = trace(machine, code(*program), {What.TRAP, What.EXIT})
    assert time.monotonic() - begin < 20
    turns = 5_000_000 & ~0xFFF
    assert [(event.what, event.number, event.pc - BASE) for event in events] == [
        (What.TRAP, 4 + 2 * turns, 24), (What.EXIT, 4 + 2 * turns, 36),
    ]  # fmt: skip


def test_an_interrupt_right_behind_an_instruction_comes_after_it(machine: SoftMachine) -> None:
    program = (
        ("auipc", {"rd": 5, "imm": 0}),
        addi(5, 5, 28),
        ("csrrw", {"rd": 0, "rs1": 5, "csr": 0x105}),
        addi(6, 0, 2),
        ("csrrw", {"rd": 0, "rs1": 6, "csr": 0x104}),
        ("csrrw", {"rd": 0, "rs1": 6, "csr": 0x100}),
        addi(0, 0, 0),
        ECALL,
    )
    machine.harts[0].interrupt(2, True)
    events = trace(machine, code(*program), {What.TRAP, What.INSTRUCTION})
    assert [(event.what.value, event.number, event.pc - BASE) for event in events[5:]] == [
        ("instruction", 5, 20), ("trap", 6, 24), ("instruction", 6, 28),
    ]  # fmt: skip


def test_what_is_skipped_is_not_told_whatever_it_is(machine: SoftMachine) -> None:
    events = trace(machine, code(*READ, *READ, addi(17, 0, 8), ECALL), set(What), skip=3)
    assert [event.number for event in events if event.what is What.INSTRUCTION] == [3, 4, 5, 6, 7]
    assert [event.number for event in events if event.what is What.EXIT] == [4, 5, 7]


class Named:
    """A board that knows everything by name."""

    def place(self, address: int, *, is_write: bool) -> str:
        return f"the {'out' if is_write else 'in'} of {address - DEVICE}"

    def call(self, extension: int, function: int, arguments: Sequence[int]) -> str:
        return f"number {extension} with {len(arguments)}"


def test_a_board_gives_names(machine: SoftMachine) -> None:
    machine.ram.write(BASE, code(*READ, addi(17, 0, 8), ECALL))
    events: list[Event] = []
    Tracer(machine, frozenset({What.EXIT}), events.append, names=Named())
    machine.start(BASE, 0)
    machine.join()
    assert [event.text for event in events] == [
        "device read, 1 bytes at 0x10000000, the in of 0: 0x41",
        "device write, 1 bytes at 0x10000000, the out of 0: 0x41",
        "firmware call number 8 with 6",
    ]


def test_a_machine_can_be_stopped_from_an_event(machine: SoftMachine) -> None:
    seen = threading.Event()
    machine.ram.write(BASE, code(("jal", {"rd": 0, "imm": 0})))

    def stop(event: Event) -> None:
        seen.set()
        machine.stop()

    Tracer(machine, frozenset({What.INSTRUCTION}), stop)
    machine.start(BASE, 0)
    assert seen.wait(20)
    machine.join()


def test_a_lost_guest_is_traced_to_its_end(machine: SoftMachine) -> None:
    with pytest.raises(LostGuestError):
        trace(machine, code(addi(5, 0, 256), ("csrrw", {"rd": 0, "rs1": 5, "csr": 0x105}), ("ebreak", {})), {What.EXIT})
    machine.failure = None


def test_the_turn_of_a_hart_that_may_be_lost_is_a_trap(machine: SoftMachine) -> None:
    """And no instruction, though its reason is another."""
    machine.ram.write(BASE, code(("ebreak", {})))
    events: list[Event] = []
    Tracer(machine, frozenset(What), events.append)
    hart = machine.harts[0]
    hart.reset(BASE, 0, 0)
    hart.cpu.stvec = BASE
    assert [hart.step() for _ in range(4)] == [exits.TRAP] * 4
    hart.cpu.trap_repeats = REPEATS - 1
    assert hart.step() == exits.LOST
    assert [event.what for event in events[-2:]] == [What.EXIT, What.TRAP]
    assert What.INSTRUCTION not in {event.what for event in events}


def test_without_a_tracer_nothing_is_replaced(machine: SoftMachine) -> None:
    assert machine.harts[0].step.__func__ is Hart.step  # type: ignore[attr-defined]
