"""Zbs against strings of binary digits."""

from __future__ import annotations

import pytest

from gasang.cpus.riscv64.zbs import zbs
from support.hart import Model, check, described


def with_bit(value: int, place: int, bit: str) -> int:
    """`value` with the digit at `place` of its binary form replaced."""
    text = f"{value:064b}"
    at = 63 - place % 64
    return int(text[:at] + bit + text[at + 1 :], 2)


def bit_of(value: int, place: int) -> int:
    return int(f"{value:064b}"[63 - place % 64])


MODELS: dict[str, Model] = {
    "bclr": lambda o: with_bit(o.a, o.b, "0"),
    "bclri": lambda o: with_bit(o.a, o.imm, "0"),
    "bext": lambda o: bit_of(o.a, o.b),
    "bexti": lambda o: bit_of(o.a, o.imm),
    "binv": lambda o: with_bit(o.a, o.b, str(1 - bit_of(o.a, o.b))),
    "binvi": lambda o: with_bit(o.a, o.imm, str(1 - bit_of(o.a, o.imm))),
    "bset": lambda o: with_bit(o.a, o.b, "1"),
    "bseti": lambda o: with_bit(o.a, o.imm, "1"),
}


def test_every_instruction_has_a_model() -> None:
    assert set(MODELS) == set(described(zbs))


@pytest.mark.parametrize("name", MODELS)
def test_result_is_the_models(name: str) -> None:
    check(zbs, MODELS, name)
