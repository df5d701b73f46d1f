"""Floating point, compiled and in plain Python: values and flags in every rounding mode."""

import ctypes
import math
import sys
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import boolean, f32, f64, float_flags, float_twin, i64, native, native_from_source, ptr, set_float_control, sqrt, u32
from gasang.native.types import FloatType, IntType, from_bits
from support.native_twins import FLOATS, INTEGERS, NAMESPACE, NUMBERS, Row, Rows, compiled, corner_bits, operands

ARITHMETIC = ("a[0] + b[0]", "a[0] - b[0]", "a[0] * b[0]", "a[0] / b[0]", "sqrt(a[0])", "fma(a[0], b[0], c[0])", "-a[0]")
TESTS = (
    *(f"a[0] {symbol} b[0]" for symbol in ("==", "!=", "<", "<=", ">", ">=")),
    "less_signaling(a[0], b[0])",
    "less_equal_signaling(a[0], b[0])",
)


@cache
def rows() -> Rows:
    made = [Row(text, kind, kind) for kind in FLOATS for text in ARITHMETIC]
    made += [Row(text, kind, boolean) for kind in FLOATS for text in TESTS]
    made += [Row("round_to_i64(a[0])", kind, i64) for kind in FLOATS]
    return Rows(made, flags=True)


@cache
def conversions() -> Rows:
    return Rows([Row(f"{to.name}(a[0])", source, to) for source in NUMBERS for to in NUMBERS], flags=True)


@settings(max_examples=70, deadline=None)
@given(operands(3), st.integers(0, 7))
def test_operations(choose: Callable[[object], tuple[int, ...]], rounding: int) -> None:
    for index, row in enumerate(rows().rows):
        rows().check(index, choose(row.kind), rounding)


@settings(max_examples=25, deadline=None)
@given(operands(1), st.integers(0, 3))
def test_conversions(choose: Callable[[object], tuple[int, ...]], rounding: int) -> None:
    for index, row in enumerate(conversions().rows):
        bits = choose(row.kind)
        if row.kind is boolean:
            bits = (bits[0] & 1,)
        conversions().check(index, bits, rounding)


def test_conversions_of_corners() -> None:
    for index, row in enumerate(conversions().rows):
        if not (isinstance(row.kind, FloatType) or isinstance(row.result, FloatType)) or row.kind is boolean:
            continue
        for bits in corner_bits(row.kind):
            value, source = conversions().check(index, (bits,)), from_bits(row.kind, bits)
            if isinstance(row.result, FloatType) or row.result is boolean:
                continue
            assert isinstance(row.result, IntType)
            ends = (-1 << (row.result.bits - 1), (1 << (row.result.bits - 1)) - 1) if row.result.signed else (0, (1 << row.result.bits) - 1)
            want = 0 if math.isnan(source) else ends[source > 0] if math.isinf(source) else sorted((*ends, math.trunc(source)))[1]
            assert value == want, (row, source)


def test_integer_to_f32_rounds_once() -> None:
    index = conversions().rows.index(Row("f32(a[0])", INTEGERS[3], f32))
    # Through binary64 this would become a tie and go to even, downwards.
    assert conversions().check(index, ((1 << 63) + (1 << 39) + 1,)) == float((1 << 63) + (1 << 40))


def moves(kind: FloatType) -> str:
    integer = f"u{kind.bits}"
    return f"""
def through(p: ptr[{kind}], flag: boolean) -> {integer}:
    x = p[0]
    p[1] = x if flag else -x
    return bitcast({integer}, bitcast({kind}, bitcast({integer}, p[1]))) + bitcast({integer}, same(p[0]))
"""


@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_moves_keep_every_bit(kind: FloatType) -> None:
    from support.native_twins import Memory

    same = native_from_source(f"def same(x: {kind}) -> {kind}:\n    return x", NAMESPACE, inline=False)
    through = native_from_source(moves(kind), {**NAMESPACE, "same": same})
    [entry] = compiled([through])
    memory = Memory(32)
    top = 1 << (kind.bits - 1)
    signaling = (0x7F80_0001, 0xFFBF_FFFF) if kind.bits == 32 else (0x7FF0_0000_0000_0001, 0xFFF7_FFFF_FFFF_FFFF)
    for bits in (*corner_bits(kind), *signaling):
        for flag in (True, False):
            for run in (entry, through.python):
                memory.write(bits.to_bytes(kind.size, "little"))
                moved = bits if flag else bits ^ top
                assert run(memory.address, flag) == (moved + bits) % (1 << kind.bits), hex(bits)


@native
def accrued(x: f64, y: f64, flags: u32) -> u32:
    set_float_control(0, flags)
    quotient: f64 = x / y
    after_division: u32 = float_flags()
    narrow = f32(quotient)
    set_float_control(1, float_flags())
    return (float_flags() << 8) | after_division | (u32(narrow < 0.5) << 16)


@given(st.sampled_from([0.0, 1.0, 3.0, 1e300, 1e-300, math.inf]), st.sampled_from([0.0, 1.0, 7.0, 1e-310, -2.0]), st.integers(0, 31))
def test_flags_accrue_in_order(x: float, y: float, flags: int) -> None:
    assert accrued(x, y, flags) == accrued.python(x, y, flags)
    set_nearest()


@native
def set_nearest() -> None:
    set_float_control(0, 0)


@native
def scaled_sum(count: u32, step: f64, rounding: u32) -> f64:
    set_float_control(rounding, 0)
    total: f64 = 0.0
    for _ in range(count):
        total += step
    halves: f64 = total * 0.5 + step / 3.0
    set_float_control(0, 0)
    return halves


def test_no_operation_leaves_its_rounding_mode() -> None:
    results = [scaled_sum(1000, 0.1, rounding) for rounding in range(4)]
    assert results == [scaled_sum.python(1000, 0.1, rounding) for rounding in range(4)]
    assert results[2] < results[0] < results[3]


@native
def known_when_compiling(p: ptr[f64], rounding: u32) -> u32:
    """LLVM knows the operands, but not the rounding mode."""
    set_float_control(rounding, 0)
    one: f64 = 1.0
    p[0] = one / 3.0
    p[1] = sqrt(one + one) + 0.0
    p[2] = f64(f32(one / 10.0))
    p[3] = one - 1.0
    flags = float_flags()
    set_float_control(0, 0)
    return flags


def test_what_is_known_when_compiling_is_rounded_when_run() -> None:
    for rounding in range(4):
        numbers, again = (ctypes.c_double * 4)(), (ctypes.c_double * 4)()
        assert known_when_compiling(numbers, rounding) == known_when_compiling.python(again, rounding) == float_twin.NX
        assert bytes(numbers) == bytes(again)
        assert math.copysign(1, numbers[3]) == (-1 if rounding == float_twin.DOWN else 1)


@native
def unused_results(x: f64, y: f64, wanted: boolean) -> u32:
    """Nobody needs the quotient; the product is wanted or not; the first flags are of the time before."""
    set_float_control(0, 0)
    before = float_flags()
    quotient = x / y
    after = float_flags()
    total: f64 = 0.0
    if wanted:
        total = x * y
    flags = float_flags()
    set_float_control(0, 0)
    if total == 12345.0 and quotient == 0.0:
        return 999
    return before | after << 8 | flags << 16


@native
def forgotten(x: f64, y: f64) -> u32:
    """An operation only its flags of which count."""
    set_float_control(0, 0)
    nobody = x / y
    flags = float_flags()
    nobody = 1.0
    return flags + u32(nobody)


NUMBERS_OF_INTEREST = (1.0, 3.0, 0.0, 1e200, -1e-200)


def test_no_operation_is_moved_removed_or_added() -> None:
    for x in NUMBERS_OF_INTEREST:
        for y in NUMBERS_OF_INTEREST:
            assert forgotten(x, y) == forgotten.python(x, y)
            for wanted in (True, False):
                assert unused_results(x, y, wanted) == unused_results.python(x, y, wanted), (x, y, wanted)


def test_python_is_left_as_it_was() -> None:
    scaled_sum(10, 0.1, 3)
    assert 0.1 + 0.2 == 0.30000000000000004
    assert sys.float_info.epsilon + 1.0 > 1.0
