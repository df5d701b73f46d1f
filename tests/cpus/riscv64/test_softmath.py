"""Arithmetic in integers against the golden model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.cpus.riscv64.softmath import soft_add, soft_divide, soft_fma, soft_multiply, soft_sqrt, soft_subtract
from gasang.native import boolean, native, ptr, u64, u128
from support.float_golden import Cases, Golden, check, consult, draw, draw_operands

COUNT = 100_000
OPERATIONS = {"add": 0, "sub": 1, "mul": 2, "div": 3, "sqrt": 4, "mulAdd": 5}


@native
def compute(operation: u64, width: u64, rounding: u64, a: u64, b: u64, c: u64) -> u128:
    """The operation with that number."""
    if operation == 0:
        return soft_add(width, rounding, a, b)
    if operation == 1:
        return soft_subtract(width, rounding, a, b)
    if operation == 2:
        return soft_multiply(width, rounding, a, b)
    if operation == 3:
        return soft_divide(width, rounding, a, b)
    if operation == 4:
        return soft_sqrt(width, rounding, a)
    return soft_fma(width, rounding, a, b, c)


@native
def half_of(operation: u64, width: u64, rounding: u64, a: u64, b: u64, c: u64, upper: u64) -> u64:
    """The lower or upper half of an outcome."""
    return u64(compute(operation, width, rounding, a, b, c) >> u128(64 * upper))


@native
def compare(cases: ptr[Cases]) -> boolean:
    """Whether a case went wrong."""
    while cases.count != 0:
        draw_operands(cases)
        if cases.kind == 5 and draw(cases) & 3 == 0:
            # An addend next to the product: nearly all digits cancel.
            product: u64 = u64(compute(2, cases.width, 0, cases.a, cases.b, 0))
            cases.c = (product + draw(cases) % 5 - 2) ^ (u64(1) << (cases.width - 1))
        consult(cases, cases.a, cases.b, cases.c)
        result: u128 = compute(cases.kind, cases.width, cases.rounding, cases.a, cases.b, cases.c)
        cases.got = u64(result)
        cases.got_flags = u64(result >> 64)
        if cases.width == 32:
            cases.want &= 0xFFFFFFFF
        if cases.got != cases.want or cases.got_flags != cases.want_flags:
            return True
        cases.count -= 1
    return False


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("name", OPERATIONS)
def test_results_and_flags_are_the_golden_models(name: str, width: int) -> None:
    check(compare, Golden().cases(f"f{width}_{name}", width, COUNT, OPERATIONS[name]))


@settings(deadline=None)  # the first call compiles
@given(st.sampled_from([32, 64]), st.integers(0, 5), st.integers(0, 4), st.tuples(*[st.integers(0, 2**64 - 1)] * 3))
def test_plain_python_agrees_with_compiled_code(width: int, operation: int, rounding: int, numbers: tuple[int, int, int]) -> None:
    numbers = tuple(number % 2**width for number in numbers)
    for upper in (0, 1):
        assert half_of.python(operation, width, rounding, *numbers, upper) == half_of(operation, width, rounding, *numbers, upper)


def test_tininess_is_found_after_rounding() -> None:
    # (1 - 2**-54) * 2**-1022 rounds to the least normal number with an unbounded exponent too: inexact, no underflow.
    almost = 0x3FEFFFFFFFFFFFFF
    least = 0x0010000000000000
    assert compute.python(5, 64, 0, least, almost, 0x8000000000000001) >> 64 == 3
    assert compute.python(2, 64, 0, 0x0010000000000001, 0x3FEFFFFFFFFFFFFE, 0) == (1 << 64 | least)
