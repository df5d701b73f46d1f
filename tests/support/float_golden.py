"""The golden model of floating point: Berkeley SoftFloat, called case by case from native code."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable

import pytest

from gasang.native import array, function_type, length, native, ptr, struct, u8, u64

GoldenFunction = function_type([u64, u64, u64], u64)
"""Every function of the golden model, as the C calling convention sees it: arguments it does not take do no harm."""

CORNERS = 32


@struct
class Cases:
    """Where the cases come from, and the first one that went wrong."""

    golden: GoldenFunction
    mode: ptr[u8]
    flags: ptr[u8]
    state: u64
    width: u64
    kind: u64
    count: u64
    a: u64
    b: u64
    c: u64
    rounding: u64
    want: u64
    want_flags: u64
    got: u64
    got_flags: u64
    corners: array[u64] = length(CORNERS)


@native
def draw(cases: ptr[Cases]) -> u64:
    """A pseudo-random number."""
    x: u64 = cases.state
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    cases.state = x
    return x * 0x2545F4914F6CDD1D


@native
def draw_number(cases: ptr[Cases]) -> u64:
    """A number of the format: a corner, any bits, near 1, near the ends of the range; few or many digits."""
    width: u64 = cases.width
    stored: u64 = 23 if width == 32 else 52
    choice: u64 = draw(cases)
    if choice & 3 == 0:
        return cases.corners[(choice >> 8) % CORNERS] ^ (((choice >> 2) & 1) << (width - 1))
    bits: u64 = draw(cases) >> (64 - width)
    if choice & 3 == 1:
        return bits
    fraction: u64 = draw(cases)
    if choice & 0x30 == 0x10:
        fraction &= draw(cases) & draw(cases) & draw(cases)
    elif choice & 0x30 == 0x20:
        fraction |= draw(cases) | draw(cases) | draw(cases)
    greatest: u64 = (u64(1) << (width - 1 - stored)) - 1
    power: u64 = greatest // 2 - 66 + (choice >> 8) % 132
    if choice & 3 == 3:
        power = (choice >> 8) % 4 if choice & 0x80 == 0 else greatest - (choice >> 8) % 4
    return (bits & (u64(1) << (width - 1))) | (power << stored) | (fraction & ((u64(1) << stored) - 1))


@native
def draw_integer(cases: ptr[Cases]) -> u64:
    """An integer of any length, near a power of two, or negative."""
    choice: u64 = draw(cases)
    value: u64 = draw(cases) >> (choice >> 8)
    if choice & 3 == 0:
        value = (u64(1) << (choice >> 8)) + (choice >> 32) % 3 - 1
    return value if choice & 4 == 0 else 0 - value


@native
def draw_operands(cases: ptr[Cases]) -> None:
    """Three numbers and a rounding mode; some sums cancel nearly or wholly."""
    mask: u64 = (u64(2) << (cases.width - 1)) - 1
    sign: u64 = u64(1) << (cases.width - 1)
    choice: u64 = draw(cases)
    cases.rounding = (choice >> 40) % 5
    cases.a = draw_number(cases)
    cases.b = draw_number(cases)
    cases.c = draw_number(cases)
    if choice & 7 == 0:
        cases.b = (cases.a + (choice >> 8) % 7 - 3) & mask
        cases.b ^= sign * ((choice >> 16) & 1)


@native
def consult(cases: ptr[Cases], a: u64, b: u64, c: u64) -> None:
    """Ask the golden model."""
    cases.mode[0] = u8(cases.rounding)
    cases.flags[0] = 0
    cases.want = cases.golden(a, b, c)
    cases.want_flags = u64(cases.flags[0])


def corners(width: int) -> list[int]:
    """Numbers where mistakes live: zeroes, ends of the subnormal and normal ranges, infinities, NaNs, ends of the integers."""
    stored, bias = (23, 127) if width == 32 else (52, 1023)
    unit, greatest = 1 << stored, 2 * bias + 1
    powers = [(bias + exponent) * unit for exponent in (-1, 0, 1, 30, 31, 32, 62, 63, 64)]
    special = [0, 1, 2, unit - 1, unit, unit + 1, greatest * unit - 1, greatest * unit, greatest * unit + 1, greatest * unit + unit // 2]
    found = [
        *special,
        *powers,
        *(power - 1 for power in powers),
        (bias - 1) * unit + 1,
        greatest * unit + unit - 1,
        unit // 2,
        bias * unit + 1,
    ]
    assert len(found) == CORNERS, len(found)
    return found


class Golden:
    """Berkeley SoftFloat's functions by name ("f64_add"), with RISC-V's NaNs and tininess found after rounding."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("softfloatpy._core")
        assert spec is not None
        assert spec.origin is not None
        self.library = ctypes.CDLL(spec.origin)
        ctypes.c_uint8.in_dll(self.library, "softfloat_detectTininess").value = 1

    def _variable(self, name: str) -> int:
        return ctypes.addressof(ctypes.c_uint8.in_dll(self.library, name))

    def cases(self, function: str, width: int, count: int, kind: int = 0) -> ctypes.Structure:
        """`count` cases for a function whose operands have format `width`."""
        made: ctypes.Structure = Cases.ctype()
        made.golden = ctypes.cast(getattr(self.library, function), ctypes.c_void_p).value
        made.mode = self._variable("softfloat_roundingMode")
        made.flags = self._variable("softfloat_exceptionFlags")
        made.state = 0x9E3779B97F4A7C15 ^ sum(ord(letter) << 8 * (index % 7) for index, letter in enumerate(function))
        made.width, made.kind, made.count = width, kind, count
        made.corners[:] = corners(width)
        return made


def check(loop: Callable[[ctypes.Structure], bool], cases: ctypes.Structure) -> None:
    """Run a loop over cases; it gives True at the first one that goes wrong."""
    if loop(cases):
        case = {name: hex(getattr(cases, name)) for name in ("a", "b", "c", "rounding", "want", "want_flags", "got", "got_flags")}
        pytest.fail(f"case {cases.count}: {case}")
