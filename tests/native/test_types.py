"""Types called in plain Python convert as compiled code does; bits of numbers go both ways."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gasang.native.types import bits_of, boolean, f32, f64, from_bits, i8, u8, u64
from support.native_twins import FLOATS, INTEGERS, NUMBERS, corner_bits


@given(st.integers(-(2**130), 2**130))
def test_integers_wrap(value: int) -> None:
    for kind in INTEGERS:
        wrapped = kind(value)
        assert (wrapped - value) % (1 << kind.bits) == 0
        assert kind.contains(wrapped)
        assert kind.contains(value) == (wrapped == value)
        assert from_bits(kind, bits_of(kind, value)) == wrapped


def test_examples() -> None:
    assert (u8(300), i8(200), u8(-1), i8(-129), u8(True)) == (44, -56, 255, 127, 1)
    assert (u8(300.5), u8(-5.0), i8(-1e9), u64(math.inf), u64(math.nan), i8(-math.inf), i8(-0.9)) == (255, 0, -128, 2**64 - 1, 0, -128, 0)
    assert [boolean(value) for value in (0, 1, 2, 256, 0.0, 0.25, math.nan)] == [False, True, True, True, False, True, True]
    assert (f32(0.1), f64(1)) == (0.10000000149011612, 1.0)
    assert (f32(2**24 + 1), f32(2**24 + 3), f32(1e300), f32(-(2**128))) == (2.0**24, 2.0**24 + 4, math.inf, -math.inf)
    assert f32((1 << 63) + (1 << 39) + 1) == float((1 << 63) + (1 << 40))


def test_bits_of_floats_go_both_ways() -> None:
    for kind in FLOATS:
        for bits in corner_bits(kind):
            assert bits_of(kind, from_bits(kind, bits)) == bits


@given(st.integers(0, 2**64 - 1))
def test_any_bits(bits: int) -> None:
    for kind in FLOATS:
        own = bits % (1 << kind.bits)
        assert bits_of(kind, from_bits(kind, own)) == own


def test_sizes() -> None:
    sizes: list[Any] = [(kind.size, kind.alignment) for kind in NUMBERS]
    assert sizes == [(size, size) for size in (1, 2, 4, 8, 16, 1, 2, 4, 8, 16, 4, 8, 1)]
