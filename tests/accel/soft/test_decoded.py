"""Marks: what was decoded is decoded again, to the same records, from memory as it is; odd marks harm nobody."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.accel.soft.decoded import MARK_BYTES, Marks, decode_again, join, marks_of, packed, unpacked
from gasang.accel.soft.hart import BLOCKS, FEW_BLOCKS, PARENTS_BLOCKS, TWINS_BLOCKS, Hart
from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64.block import RECORDS
from support.assembler import ECALL, T0, ZERO, addi, assemble
from support.machines import RAM_BASE, bare_machine

EVERYTHING = (1 << RECORDS) - 1
PROGRAM = assemble(addi(T0, ZERO, 9), addi(T0, T0, -1), ("bne", {"rs1": T0, "rs2": ZERO, "imm": -4}), ECALL)
ALL_MARKS = st.dictionaries(st.integers(0, 255), st.integers(0, EVERYTHING), max_size=3)


@pytest.fixture
def machine() -> Iterator[SoftMachine]:
    made = bare_machine(PROGRAM)
    yield made
    made.stop()
    made.wait()
    made.close()


def run(machine: SoftMachine) -> Hart:
    machine.start(RAM_BASE, 0)
    machine.join()
    return machine.harts[0]


def records(hart: Hart) -> bytes:
    """The first block's."""
    return ctypes.string_at(int(hart.cpu.blocks), (RECORDS + 2) * 16)


def test_the_same_is_decoded_again(machine: SoftMachine) -> None:
    ran = run(machine)
    marks = marks_of(ran)
    assert marks == {0: 0b1010101}
    other = bare_machine(PROGRAM)
    hart = other.harts[0]
    decode_again(hart, marks)
    assert marks_of(hart) == marks
    assert records(hart) == records(ran)
    assert run(other).instructions == ran.instructions
    assert hart.cpu.blocks_used == 1
    other.close()


def test_memory_counts_not_what_it_was(machine: SoftMachine) -> None:
    marks = marks_of(run(machine))
    other = bare_machine(assemble(addi(T0, ZERO, 1), ECALL))
    decode_again(other.harts[0], marks)
    assert run(other).instructions == 1
    other.close()


def test_a_store_from_outside_is_noticed_in_what_was_decoded_ahead(machine: SoftMachine) -> None:
    hart = machine.harts[0]
    decode_again(hart, {0: 0b1010101})
    machine.ram.write(RAM_BASE, assemble(addi(T0, ZERO, 1), ECALL))
    machine.processor.functions["forget_all_blocks"](hart.address)  # as fence.i does for what others have written
    assert run(machine).instructions == 1


@settings(max_examples=30, deadline=None)
@given(ALL_MARKS, st.binary(max_size=256))
def test_any_marks_of_any_memory(marks: Marks, content: bytes) -> None:
    machine = bare_machine(PROGRAM)
    machine.ram.write(RAM_BASE + 0x1000, content)
    decode_again(machine.harts[0], marks)
    assert run(machine).instructions == 19
    machine.close()


def test_no_more_pages_than_there_is_room_for_nor_than_memory_has() -> None:
    machine = bare_machine(PROGRAM, memory=(BLOCKS + 8) << 12)
    hart = machine.harts[0]
    decode_again(hart, dict.fromkeys(range(1 << 20, 1 << 20 | 9), 1))
    assert hart.cpu.blocks_used == 0
    decode_again(hart, dict.fromkeys(range(BLOCKS + 8), 1))
    assert hart.cpu.blocks_used == BLOCKS
    assert len(marks_of(hart)) == BLOCKS
    machine.close()


def test_what_is_given_back_is_remembered(machine: SoftMachine) -> None:
    hart, pages = machine.harts[0], range(FEW_BLOCKS + 1)
    decode_again(hart, dict.fromkeys(pages, 1))
    hart._forget_decoded()
    decode_again(hart, dict.fromkeys(pages, 2))
    hart._forget_decoded()
    assert (hart.cpu.blocks_used, hart.forgotten) == (0, dict.fromkeys(pages, 3))
    decode_again(hart, dict.fromkeys(pages, 1))
    hart.make_private()
    hart._forget_decoded()
    assert hart.cpu.blocks_used == len(pages)  # twins share it


def test_processes_that_fork_have_more_room_and_twins_most(machine: SoftMachine) -> None:
    hart = machine.harts[0]
    assert hart.cpu.block_count == BLOCKS
    hart.make_private()
    assert hart.cpu.block_count == PARENTS_BLOCKS
    hart.renew()
    hart.make_private()
    assert hart.cpu.block_count == TWINS_BLOCKS
    decode_again(hart, {255: 1})
    assert marks_of(hart)[255] == 1


@given(st.dictionaries(st.integers(0, 63), ALL_MARKS.filter(bool)))
def test_packed_and_back(harts: dict[int, Marks]) -> None:
    assert unpacked(packed(harts)) == harts


@given(st.binary(max_size=3 * (MARK_BYTES + 6)))
def test_odd_notes(content: bytes) -> None:
    assert all(0 <= bits <= EVERYTHING for marks in unpacked(content).values() for bits in marks.values())


def test_joined() -> None:
    marks = {1: 0b01, 2: 1}
    join(marks, {1: 0b10, 3: 4})
    assert marks == {1: 0b11, 2: 1, 3: 4}
