"""M against arithmetic on Python's integers."""

from __future__ import annotations

import pytest

from gasang.cpus.riscv64.m import rv64m
from support.hart import Model, check, described, low, signed


def quotient(a: int, b: int, bits: int) -> int:
    """Toward zero, from magnitudes; the corners of the specification's table in 13.2."""
    if b == 0:
        return -1
    magnitude = abs(a) // abs(b)
    return signed(-magnitude if (a < 0) != (b < 0) else magnitude, bits)


def rest(a: int, b: int, bits: int) -> int:
    """What `quotient` leaves."""
    return signed(a - quotient(a, b, bits) * b, bits) if b else a


MODELS: dict[str, Model] = {
    "mul": lambda o: signed(o.a) * signed(o.b),
    "mulh": lambda o: signed(o.a) * signed(o.b) >> 64,
    "mulhsu": lambda o: signed(o.a) * o.b >> 64,
    "mulhu": lambda o: o.a * o.b >> 64,
    "div": lambda o: quotient(signed(o.a), signed(o.b), 64),
    "divu": lambda o: quotient(o.a, o.b, 64),
    "rem": lambda o: rest(signed(o.a), signed(o.b), 64),
    "remu": lambda o: o.a % o.b if o.b else o.a,
    "mulw": lambda o: signed(o.a * o.b, 32),
    "divw": lambda o: quotient(signed(o.a, 32), signed(o.b, 32), 32),
    "divuw": lambda o: quotient(low(o.a), low(o.b), 32),
    "remw": lambda o: rest(signed(o.a, 32), signed(o.b, 32), 32),
    "remuw": lambda o: signed(low(o.a) % low(o.b) if low(o.b) else low(o.a), 32),
}


def test_every_instruction_has_a_model() -> None:
    assert set(MODELS) == set(described(rv64m))


@pytest.mark.parametrize("name", MODELS)
def test_result_is_the_models(name: str) -> None:
    check(rv64m, MODELS, name)
