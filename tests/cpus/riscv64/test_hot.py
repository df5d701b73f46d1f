"""Which stretches of code polls have found the hart in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.execute import QUANTUM
from gasang.cpus.riscv64.hot import OFTEN, is_told
from gasang.cpus.riscv64.state import PAGE_SIZE, STRETCHES
from support.bare import CODE, Bare, asm

STRETCH = PAGE_SIZE // STRETCHES
MANY = 1201
"""Stretches: a prime, so that each is met as often."""
ROUNDS = 3


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A hart that goes round over many stretches, a jump on each; none becomes hot."""
    made = Bare()
    made.cpu.hot_after = 1 << 40
    for number in range(MANY):
        last = number == MANY - 1
        made.put(CODE + STRETCH * number, asm("jal", rd=0, imm=-STRETCH * number if last else STRETCH))
    assert made.run(QUANTUM * MANY * ROUNDS) == exits.LIMIT
    yield made
    made.close()


def heats(bare: Bare) -> list[int]:
    """The count of each stretch that is executed."""
    first = (CODE - bare.machine.ram.base) // STRETCH
    return [bare.machine.processor.functions["heat_of"](bare.hart.address, first + number) for number in range(MANY)]


def test_as_many_stretches_as_a_boot_has_do_not_drive_each_other_out(bare: Bare) -> None:
    counted = heats(bare)
    assert sum(counted) > 0.97 * (MANY * ROUNDS - 1)
    assert max(counted) <= ROUNDS + 1


def test_code_that_is_decoded_anew_keeps_its_count(bare: Bare) -> None:
    before = sum(heats(bare))
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    bare.cpu.pc = CODE
    assert bare.run(QUANTUM * MANY) == exits.LIMIT
    assert sum(heats(bare)) > before + 0.9 * MANY


def test_hot_code_is_told_about_at_powers_of_four_and_then_each_so_often() -> None:
    told = [times for times in range(1, 4 * OFTEN + 1) if is_told(times)]
    assert told == [1, 4, 16, 64, 128, 192, 256]


def test_a_count_goes_on_from_what_is_set(bare: Bare) -> None:
    functions, number = bare.machine.processor.functions, bare.machine.processor.functions["code_place"](bare.hart.address, CODE)
    stretch = functions["stretch_of"](bare.hart.address, number, CODE % PAGE_SIZE + STRETCH + 2)
    functions["set_heat"](bare.hart.address, stretch, 77)
    assert heats(bare)[1] == 77
