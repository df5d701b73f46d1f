"""Conversions in integers against the golden model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.cpus.riscv64.softconvert import soft_from_integer, soft_to_format, soft_to_integer
from gasang.native import boolean, i32, native, ptr, u64, u128
from support.float_golden import Cases, Golden, check, consult, draw_integer, draw_operands

COUNT = 100_000
KINDS = ["i32", "ui32", "i64", "ui64"]


@native
def compare_to_integer(cases: ptr[Cases]) -> boolean:
    """Whether a conversion to an integer went wrong."""
    while cases.count != 0:
        draw_operands(cases)
        consult(cases, cases.a, cases.rounding, 1)
        result: u128 = soft_to_integer(cases.width, cases.rounding, cases.kind, cases.a)
        cases.got = u64(result)
        cases.got_flags = u64(result >> 64)
        if cases.kind < 2:
            cases.want = u64(i32(cases.want))
        if cases.got != cases.want or cases.got_flags != cases.want_flags:
            return True
        cases.count -= 1
    return False


@native
def compare_from_integer(cases: ptr[Cases]) -> boolean:
    """Whether a conversion from an integer went wrong."""
    while cases.count != 0:
        draw_operands(cases)
        cases.a = draw_integer(cases)
        consult(cases, cases.a, 0, 0)
        result: u128 = soft_from_integer(cases.width, cases.rounding, cases.kind, cases.a)
        cases.got = u64(result)
        cases.got_flags = u64(result >> 64)
        if cases.width == 32:
            cases.want &= 0xFFFFFFFF
        if cases.got != cases.want or cases.got_flags != cases.want_flags:
            return True
        cases.count -= 1
    return False


@native
def compare_to_format(cases: ptr[Cases]) -> boolean:
    """Whether a conversion to the other format went wrong."""
    while cases.count != 0:
        draw_operands(cases)
        consult(cases, cases.a, 0, 0)
        result: u128 = soft_to_format(cases.width, 96 - cases.width, cases.rounding, cases.a)
        cases.got = u64(result)
        cases.got_flags = u64(result >> 64)
        if cases.width == 64:
            cases.want &= 0xFFFFFFFF
        if cases.got != cases.want or cases.got_flags != cases.want_flags:
            return True
        cases.count -= 1
    return False


@native
def half_of(which: u64, width: u64, rounding: u64, kind: u64, a: u64, upper: u64) -> u64:
    """The lower or upper half of an outcome."""
    result: u128 = 0
    if which == 0:
        result = soft_to_integer(width, rounding, kind, a)
    elif which == 1:
        result = soft_from_integer(width, rounding, kind, a)
    else:
        result = soft_to_format(width, 96 - width, rounding, a)
    return u64(result >> u128(64 * upper))


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("kind", range(4))
def test_to_integer(kind: int, width: int) -> None:
    check(compare_to_integer, Golden().cases(f"f{width}_to_{KINDS[kind]}", width, COUNT, kind))


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("kind", range(4))
def test_from_integer(kind: int, width: int) -> None:
    check(compare_from_integer, Golden().cases(f"{KINDS[kind]}_to_f{width}", width, COUNT, kind))


@pytest.mark.parametrize("width", [32, 64])
def test_to_the_other_format(width: int) -> None:
    check(compare_to_format, Golden().cases(f"f{width}_to_f{96 - width}", width, COUNT))


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2), st.sampled_from([32, 64]), st.integers(0, 4), st.integers(0, 3), st.integers(0, 2**64 - 1))
def test_plain_python_agrees_with_compiled_code(which: int, width: int, rounding: int, kind: int, bits: int) -> None:
    number = bits if which == 1 else bits % 2**width
    for upper in (0, 1):
        assert half_of.python(which, width, rounding, kind, number, upper) == half_of(which, width, rounding, kind, number, upper)
