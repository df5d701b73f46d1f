"""D, instruction by instruction, against the golden model."""

from __future__ import annotations

import pytest

from support.float_golden import Golden, check
from support.float_instructions import Cpu, compare_instruction, golden_name, judged_names, subject

COUNT = 100_000


@pytest.mark.parametrize("name", judged_names("D"))
def test_results_and_flags_are_the_golden_models(name: str) -> None:
    cpu, tried = Cpu.ctype(), subject(name)
    check(lambda cases: compare_instruction(cases, cpu, tried), Golden().cases(*golden_name(name), COUNT))
