"""Signs, minimum and maximum, classes and moves of both formats, against definitions written with Python's numbers."""

from __future__ import annotations

import math
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from support.float_golden import corners
from support.float_instructions import BOXED, FD, FS1, FS2, NUMBERS, RD, RS1, Cpu, raised_by

FORMATS = {"s": 32, "d": 64}
NAN = {"s": 0x7FC00000, "d": 0x7FF8000000000000}
QUIET = {"s": 1 << 22, "d": 1 << 51}

suffixes = st.sampled_from(["s", "d"])


@st.composite
def numbers(draw: st.DrawFn, suffix: str) -> int:
    """The bits of a number: a corner of either sign, or any."""
    width = FORMATS[suffix]
    corner = st.sampled_from(corners(width)).flatmap(lambda bits: st.sampled_from([bits, bits | 1 << (width - 1)]))
    return draw(corner | st.integers(0, 2**width - 1))


pairs = suffixes.flatmap(lambda suffix: st.tuples(st.just(suffix), numbers(suffix), numbers(suffix)))


def value(suffix: str, bits: int) -> float:
    """The number as Python's float."""
    return struct.unpack("<f" if suffix == "s" else "<d", bits.to_bytes(FORMATS[suffix] // 8, "little"))[0]


def is_signaling(suffix: str, bits: int) -> bool:
    return math.isnan(value(suffix, bits)) and not bits & QUIET[suffix]


def boxed(suffix: str, bits: int) -> int:
    return bits | BOXED if suffix == "s" else bits


def run(name: str, a: int, b: int = 0, x: int = 0) -> tuple[int, int, int, int]:
    """Execute an instruction with fs1 = a, fs2 = b, rs1 = x: fd, rd, the flags it raised and FS."""
    cpu = Cpu.ctype()
    cpu.f[FS1], cpu.f[FS2], cpu.x[RS1], cpu.fs = a, b, x, 1
    flags = raised_by(cpu, NUMBERS[name], 0)
    return cpu.f[FD], cpu.x[RD], flags, cpu.fs


def chosen(suffix: str, greater: bool, a: int, b: int) -> int:
    """MinimumNumber or maximumNumber (IEEE 754-2019, 9.6) of two numbers, as bits."""
    found = [bits for bits in (a, b) if not math.isnan(value(suffix, bits))]
    if not found:
        return NAN[suffix]
    found.sort(key=lambda bits: (value(suffix, bits), math.copysign(1, value(suffix, bits))))
    return found[-1] if greater else found[0]


@settings(deadline=None, max_examples=500)
@given(pairs, st.booleans())
def test_minimum_and_maximum(case: tuple[str, int, int], greater: bool) -> None:
    suffix, a, b = case
    result, _, flags, fs = run(f"{'fmax' if greater else 'fmin'}.{suffix}", boxed(suffix, a), boxed(suffix, b))
    assert result == boxed(suffix, chosen(suffix, greater, a, b))
    assert flags == (16 if is_signaling(suffix, a) or is_signaling(suffix, b) else 0)
    assert fs == 3


@settings(deadline=None)
@given(pairs, st.sampled_from(["fsgnj", "fsgnjn", "fsgnjx"]))
def test_signs(case: tuple[str, int, int], name: str) -> None:
    suffix, a, b = case
    sign = 1 << (FORMATS[suffix] - 1)
    signs = {"fsgnj": b, "fsgnjn": ~b, "fsgnjx": a ^ b}
    result, _, flags, fs = run(f"{name}.{suffix}", boxed(suffix, a), boxed(suffix, b))
    assert result == boxed(suffix, (a & ~sign) | (signs[name] & sign))
    assert (flags, fs) == (0, 3)


def test_an_unboxed_number_is_a_nan() -> None:
    one = 0x3F800000
    assert run("fsgnj.s", one, one | BOXED)[0] == 0x7FC00000 | BOXED
    assert run("fsgnjn.s", one | BOXED, one)[0] == 0xBF800000 | BOXED
    assert run("fmin.s", one, one | BOXED)[0] == one | BOXED
    assert run("fclass.s", one)[1] == 1 << 9
    assert run("feq.s", one, one)[1:3] == (0, 0)
    assert run("flt.s", one, one)[1:3] == (0, 16)
    # Moves and stores take the bits as they are.
    assert run("fmv.x.w", one)[1] == one


def class_bit(suffix: str, bits: int) -> int:
    """Which bit of fclass's result is set (unprivileged specification, 20.9)."""
    number = value(suffix, bits)
    if math.isnan(number):
        return 8 if is_signaling(suffix, bits) else 9
    least = 2.0**-126 if suffix == "s" else 2.0**-1022
    rank = 3 if math.isinf(number) else 2 if abs(number) >= least else 1 if number else 0
    return 3 - rank if math.copysign(1, number) < 0 else 4 + rank


@settings(deadline=None)
@given(pairs)
def test_classes(case: tuple[str, int, int]) -> None:
    suffix, a, _ = case
    assert run(f"fclass.{suffix}", boxed(suffix, a))[1:] == (1 << class_bit(suffix, a), 0, 1)


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_moves(bits: int) -> None:
    low = bits & 0xFFFFFFFF
    assert run("fmv.x.d", bits)[1:] == (bits, 0, 1)
    assert run("fmv.x.w", bits)[1:] == (low | (BOXED if low >> 31 else 0), 0, 1)
    assert run("fmv.d.x", 0, 0, bits)[0] == bits
    assert run("fmv.w.x", 0, 0, bits)[0] == low | BOXED
