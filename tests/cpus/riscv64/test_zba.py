"""Zba against arithmetic on Python's integers."""

from __future__ import annotations

import pytest

from gasang.cpus.riscv64.zba import zba
from support.hart import Model, check, described, low

MODELS: dict[str, Model] = {
    "add.uw": lambda o: low(o.a) + o.b,
    "slli.uw": lambda o: low(o.a) * 2**o.imm,
    **{f"sh{n}add": lambda o, n=n: o.a * 2**n + o.b for n in (1, 2, 3)},
    **{f"sh{n}add.uw": lambda o, n=n: low(o.a) * 2**n + o.b for n in (1, 2, 3)},
}


def test_every_instruction_has_a_model() -> None:
    assert set(MODELS) == set(described(zba))


@pytest.mark.parametrize("name", MODELS)
def test_result_is_the_models(name: str) -> None:
    check(zba, MODELS, name)
