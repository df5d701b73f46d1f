"""The plain-Python floating point against Berkeley SoftFloat: an arithmetic of its own needs a judge of its own."""

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import softfloatpy as judge
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import float_twin
from gasang.native.types import FloatType, f32, f64, from_bits, i32, i64, u32, u64
from support.native_twins import FLOATS, corner_bits, same

MODES = [judge.RoundingMode.NEAR_EVEN, judge.RoundingMode.MIN_MAG, judge.RoundingMode.MIN, judge.RoundingMode.MAX]
UNSIGNED = {32: judge.UInt32, 64: judge.UInt64}
SIGNED = {32: judge.Int32, 64: judge.Int64}
LETTERS = {u32: "ui32", u64: "ui64", i32: "i32", i64: "i64"}


def number(kind: FloatType, bits: int) -> Any:
    return (judge.Float32 if kind.bits == 32 else judge.Float64).from_bytes(bits.to_bytes(kind.size, "big"))


def bits_of(value: Any) -> int:
    return int.from_bytes(value.to_bytes(), "big")


def bits_for(kind: FloatType) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from(corner_bits(kind)), st.integers(0, (1 << kind.bits) - 1))


def judged(name: str, rounding: int, *operands: Any) -> tuple[Any, int]:
    judge.set_tininess_mode(judge.TininessMode.AFTER_ROUNDING)
    judge.set_rounding_mode(MODES[rounding])
    judge.set_exception_flags(0)
    result = getattr(judge, name)(*operands)
    return result, int(judge.get_exception_flags())


def flags_of(run: Callable[[], Any], rounding: int) -> tuple[Any, int]:
    float_twin.state.set(rounding, 0)
    result = run()
    flags = float_twin.state.flags
    float_twin.state.set(0, 0)
    return result, flags


OPERATIONS: dict[str, Callable[..., float]] = {
    "add": float_twin.add,
    "sub": float_twin.subtract,
    "mul": float_twin.multiply,
    "div": float_twin.divide,
    "mul_add": float_twin.fused,
    "sqrt": float_twin.square_root,
}
COUNTS = {"sqrt": 1, "mul_add": 3}


@pytest.mark.parametrize("kind", FLOATS, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic(kind: FloatType, name: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(bits_for(kind), min_size=3, max_size=3), st.integers(0, 3))
    def check(bits: list[int], rounding: int) -> None:
        bits = bits[: COUNTS.get(name, 2)]
        values = [from_bits(kind, part) for part in bits]
        want, want_flags = judged(f"{kind.name}_{name}", rounding, *(number(kind, part) for part in bits))
        got, flags = flags_of(lambda: OPERATIONS[name](kind, *values), rounding)
        assert same(kind, bits_of(want), float_bits(kind, got))
        # Whether infinity times zero plus a quiet NaN is invalid, each processor family says for itself.
        if not (name == "mul_add" and math.isnan(values[2]) and math.inf in map(abs, values[:2]) and 0 in values[:2]):
            assert flags == want_flags

    check()


def float_bits(kind: FloatType, value: float) -> int:
    from gasang.native import types

    return types.bits_of(kind, value)


COMPARISONS = [
    ("eq", operator.eq, False),
    ("lt_quiet", operator.lt, False),
    ("le_quiet", operator.le, False),
    ("lt", operator.lt, True),
    ("le", operator.le, True),
]


@pytest.mark.parametrize("kind", FLOATS, ids=str)
@pytest.mark.parametrize(("name", "test", "signaling"), COMPARISONS, ids=[name for name, _, _ in COMPARISONS])
def test_comparison(kind: FloatType, name: str, test: Any, signaling: bool) -> None:
    @settings(max_examples=100, deadline=None)
    @given(bits_for(kind), bits_for(kind))
    def check(left: int, right: int) -> None:
        want = judged(f"{kind.name}_{name}", 0, number(kind, left), number(kind, right))
        got = flags_of(lambda: float_twin.compare(kind, test, from_bits(kind, left), from_bits(kind, right), signaling), 0)
        assert got == want

    check()


@pytest.mark.parametrize("kind", FLOATS, ids=str)
@pytest.mark.parametrize("source", LETTERS, ids=str)
def test_from_integer(kind: FloatType, source: Any) -> None:
    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, (1 << source.bits) - 1), st.integers(0, 64), st.integers(0, 3))
    def check(bits: int, shift: int, rounding: int) -> None:
        value = source.wrap(bits >> shift)
        holder: Any = (SIGNED if source.signed else UNSIGNED)[source.bits]
        want, want_flags = judged(f"{LETTERS[source]}_to_{kind.name}", rounding, holder.from_int(value))
        got, flags = flags_of(lambda: float_twin.from_integer(kind, value), rounding)
        assert (bits_of(want), want_flags) == (float_bits(kind, got), flags)

    check()


@pytest.mark.parametrize(("source", "to"), [(f32, f64), (f64, f32)], ids=["widen", "narrow"])
def test_to_format(source: FloatType, to: FloatType) -> None:
    @settings(max_examples=150, deadline=None)
    @given(bits_for(source), st.integers(0, 3))
    def check(bits: int, rounding: int) -> None:
        want, want_flags = judged(f"{source.name}_to_{to.name}", rounding, number(source, bits))
        got, flags = flags_of(lambda: float_twin.to_format(to, source, from_bits(source, bits)), rounding)
        assert same(to, bits_of(want), float_bits(to, got))
        assert flags == want_flags

    check()


@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_round_to_i64(kind: FloatType) -> None:
    @settings(max_examples=150, deadline=None)
    @given(bits_for(kind), st.integers(0, 3))
    def check(bits: int, rounding: int) -> None:
        value = from_bits(kind, bits)
        want, want_flags = judged(f"{kind.name}_to_i64", rounding, number(kind, bits), MODES[rounding], True)
        got, flags = flags_of(lambda: float_twin.round_to_i64(kind, value), rounding)
        assert flags == want_flags
        if not flags & float_twin.NV:
            assert got == want.to_int()
        else:
            assert got == -(1 << 63)

    check()


def test_each_thread_has_its_own_state() -> None:
    import threading

    float_twin.state.set(2, 5)
    seen: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: seen.append((float_twin.state.rounding, float_twin.state.flags)))
    thread.start()
    thread.join()
    assert seen == [(0, 0)]
    assert (float_twin.state.rounding, float_twin.state.flags) == (2, 5)
    float_twin.state.set(0, 0)
