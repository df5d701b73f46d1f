"""Our processor and Spike, instruction for instruction the same.

Every instruction, every compressed word, random words, random programs.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gasang.cpus.instruction_set import Instruction
from gasang.cpus.riscv64.isa import rv64
from support.lockstep.programs import LEFT_OUT, comparable, drill
from support.lockstep.worlds import WORLDS

if TYPE_CHECKING:
    from support.lockstep.duel import Duel

DRILLED = [instruction for instruction in rv64 if instruction.name not in LEFT_OUT]
DRILL_BLOCKS = 12
PROGRAMS = 32
PROGRAM_BLOCKS = 400
RANDOM_WORDS = 12_000


@pytest.fixture(scope="module")
def duel() -> Iterator[Duel]:
    """Both machines."""
    pytest.importorskip("riscv", reason="the Python package spike is not installed")
    if shutil.which("dtc") is None:
        pytest.skip("dtc is not installed (Debian package device-tree-compiler): Spike needs it")
    from support.lockstep.duel import Duel

    both = Duel()
    yield both
    both.close()


@pytest.mark.parametrize("instruction", DRILLED, ids=lambda instruction: instruction.name)
def test_every_instruction(duel: Duel, instruction: Instruction) -> None:
    before = duel.tally.blocks
    for number in range(2):
        seed = rv64.numbers[instruction] * len(WORLDS) + random.Random(instruction.name).randrange(len(WORLDS)) + number
        duel.run(seed, partial(drill, instruction=instruction), DRILL_BLOCKS)
    assert duel.tally.blocks > before


@pytest.mark.parametrize("quadrant", [0, 1, 2])
def test_every_compressed_word(duel: Duel, quadrant: int) -> None:
    duel.run_words(quadrant, [word for word in range(1 << 16) if word & 3 == quadrant])


def test_random_words(duel: Duel) -> None:
    rng = random.Random(1)
    words = [rng.getrandbits(30) << 2 | 3 for _ in range(RANDOM_WORDS)]
    duel.run_words(1, [word for word in words if comparable(word)])


def test_words_one_bit_beside_an_instruction(duel: Duel) -> None:
    rng = random.Random(2)
    words = []
    for instruction in rv64:
        free = 0xFFFFFFFF & ~instruction.mask
        words += [
            (instruction.match | rng.getrandbits(32) & free) ^ 1 << rng.randrange(2, 32) for _ in range(24) if instruction.length == 4
        ]
    duel.run_words(2, [word for word in words if comparable(word)])


@pytest.mark.parametrize("number", range(PROGRAMS))
def test_random_programs(duel: Duel, number: int) -> None:
    before = duel.tally.instructions
    duel.run(number, blocks=PROGRAM_BLOCKS)
    assert duel.tally.instructions - before > 1000


def test_a_run_on_demand_tells_its_seeds(duel: Duel, capsys: pytest.CaptureFixture[str]) -> None:
    from support.lockstep.__main__ import run

    before = duel.tally.instructions
    assert run(duel, before + 1, 77, 1) == 0
    assert duel.tally.instructions > before
    assert "programs 77 to 77: no difference" in capsys.readouterr().out


def test_a_run_on_demand_goes_on_after_a_difference_as_often_as_asked(
    duel: Duel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from support.lockstep.__main__ import run
    from support.lockstep.duel import Difference

    def differs(seed: int) -> None:
        raise Difference(f"program {seed} is odd")

    monkeypatch.setattr(duel, "run", differs)
    assert run(duel, duel.tally.instructions + 1000, 5, 2) == 2
    said = capsys.readouterr().out
    assert "program 5 is odd" in said
    assert "programs 5 to 6: 2 differ" in said
