"""Floating point for plain Python: exact arithmetic rounded once, in any rounding mode, with flags (IEEE 754-2019, clauses 4, 5, 7).

The thread's own control word is left alone, since Python's floats obey it too: each thread has a rounding mode and flags here, which
`set_float_control` and `float_flags` mean in plain Python. NaNs carry the payload they came with only through moves; which payload
and sign a result has is no part of the language. Tininess is found after rounding, as on x86 and RISC-V.
"""

from __future__ import annotations

import math
import threading
from typing import Any

from gasang.native.types import FloatType, IntType, bits_of

NX, UF, OF, DZ, NV = 1, 2, 4, 8, 16
NEAREST, TOWARD_ZERO, DOWN, UP = range(4)
_FORMATS = {32: (24, -149, 128), 64: (53, -1074, 1024)}  # digits, exponent of the least subnormal, first exponent too large
_LEAST_I64 = -(1 << 63)


class FloatState(threading.local):
    """A thread's rounding mode and accrued flags."""

    def __init__(self) -> None:
        self.rounding = NEAREST
        self.flags = 0

    def set(self, rounding: int, flags: int) -> None:
        """As the intrinsic does: modes that the host has not become nearest."""
        self.rounding = rounding & 7 if rounding & 7 <= UP else NEAREST
        self.flags = flags & 0x1F


state = FloatState()


def _raise(flags: int, value: float) -> float:
    state.flags |= flags
    return value


def is_signaling(kind: FloatType, value: float) -> bool:
    """Whether a value is a signaling NaN: its first fraction bit is 0."""
    return math.isnan(value) and not bits_of(kind, value) >> (22 if kind.bits == 32 else 51) & 1


def _nan_of(kind: FloatType, *operands: float) -> float:
    return _raise(NV if any(is_signaling(kind, operand) for operand in operands) else 0, math.nan)


def _split(value: float) -> tuple[int, int]:
    """A finite value as integer times a power of two."""
    numerator, denominator = value.as_integer_ratio()
    return numerator, 1 - denominator.bit_length()


def _away(negative: bool, odd: bool, rest: int, half: int) -> bool:
    """Whether the rounding mode goes to the larger magnitude; `rest` of twice `half` is what would be cut off."""
    if state.rounding == NEAREST:
        return rest > half or (rest == half and odd)
    return rest > 0 and state.rounding == (DOWN if negative else UP)


def _cut(negative: bool, mantissa: int, places: int) -> tuple[int, bool]:
    """A magnitude divided by 2**places and rounded; whether that was inexact."""
    if places <= 0:
        return mantissa << -places, False
    kept, rest = mantissa >> places, mantissa & ((1 << places) - 1)
    return kept + _away(negative, bool(kept & 1), rest, 1 << (places - 1)), rest != 0


def rounded(kind: FloatType, negative: bool, mantissa: int, exponent: int) -> float:
    """The number mantissa * 2**exponent (not 0) in the format, with the flags that this raises."""
    digits, least, too_large = _FORMATS[kind.bits]
    top = mantissa.bit_length() + exponent  # the magnitude lies below 2**top
    free = top - digits
    unit = max(free, least)
    kept, inexact = _cut(negative, mantissa, unit - exponent)
    sign = -1.0 if negative else 1.0
    if kept.bit_length() + unit > too_large:
        to_infinity = state.rounding in (NEAREST, DOWN if negative else UP)
        return _raise(OF | NX, sign * (math.inf if to_infinity else math.ldexp((1 << digits) - 1, too_large - digits)))
    if inexact:
        # With unlimited exponents the value could have rounded up to the least normal number: then it is not tiny.
        normal, _ = _cut(negative, mantissa, free - exponent)
        tiny = normal.bit_length() + free < least + digits
        state.flags |= NX | UF if tiny else NX
    return sign * math.ldexp(kept, unit)


def _zero_sum(left: float, right: float) -> float:
    """The sign of an exact zero sum (clause 6.3)."""
    if left == 0 and math.copysign(1, left) == math.copysign(1, right):
        return left
    return -0.0 if state.rounding == DOWN else 0.0


def add(kind: FloatType, left: float, right: float) -> float:
    """The sum left + right."""
    if math.isnan(left) or math.isnan(right):
        return _nan_of(kind, left, right)
    if math.isinf(left) or math.isinf(right):
        opposed = math.isinf(left) and math.isinf(right) and left != right
        return _raise(NV, math.nan) if opposed else left + right
    return _sum(kind, *_split(left), *_split(right), zero=_zero_sum(left, right))


def _sum(kind: FloatType, m1: int, e1: int, m2: int, e2: int, zero: float) -> float:
    low = min(e1, e2)
    total = (m1 << (e1 - low)) + (m2 << (e2 - low))
    return rounded(kind, total < 0, abs(total), low) if total else zero


def subtract(kind: FloatType, left: float, right: float) -> float:
    """The difference left - right."""
    return _nan_of(kind, left, right) if math.isnan(right) else add(kind, left, -right)


def _sign(*values: float) -> float:
    return math.prod(math.copysign(1, value) for value in values)


def multiply(kind: FloatType, left: float, right: float) -> float:
    """The product left * right."""
    if math.isnan(left) or math.isnan(right):
        return _nan_of(kind, left, right)
    if math.isinf(left) or math.isinf(right):
        return _raise(NV, math.nan) if left == 0 or right == 0 else _sign(left, right) * math.inf
    (m1, e1), (m2, e2) = _split(left), _split(right)
    if m1 * m2 == 0:
        return _sign(left, right) * 0.0
    return rounded(kind, m1 * m2 < 0, abs(m1 * m2), e1 + e2)


def divide(kind: FloatType, left: float, right: float) -> float:
    """The quotient left / right."""
    if math.isnan(left) or math.isnan(right):
        return _nan_of(kind, left, right)
    if (math.isinf(left) and math.isinf(right)) or (left == 0 and right == 0):
        return _raise(NV, math.nan)
    if math.isinf(left) or right == 0:
        return _raise(0 if math.isinf(left) else DZ, _sign(left, right) * math.inf)
    if left == 0 or math.isinf(right):
        return _sign(left, right) * 0.0
    (m1, e1), (m2, e2) = _split(left), _split(right)
    shift = 70 + abs(m2).bit_length()
    quotient, rest = divmod(abs(m1) << shift, abs(m2))
    return rounded(kind, (m1 < 0) != (m2 < 0), quotient << 1 | (rest != 0), e1 - e2 - shift - 1)


def square_root(kind: FloatType, value: float) -> float:
    """The square root."""
    if math.isnan(value):
        return _nan_of(kind, value)
    if value == 0 or value == math.inf:
        return value
    if value < 0:
        return _raise(NV, math.nan)
    mantissa, exponent = _split(value)
    shift = 128 + (exponent & 1)
    root = math.isqrt(mantissa << shift)
    return rounded(kind, False, root << 1 | (root * root != mantissa << shift), (exponent - shift) // 2 - 1)


def fused(kind: FloatType, left: float, right: float, addend: float) -> float:
    """The sum left * right + addend, rounded once. A quiet NaN as addend hides that infinity times zero is invalid, as on x86."""
    if math.isnan(left) or math.isnan(right) or math.isnan(addend):
        return _nan_of(kind, left, right, addend)
    if math.isinf(left) or math.isinf(right):
        if left == 0 or right == 0:
            return _raise(NV, math.nan)
        return add(kind, _sign(left, right) * math.inf, addend)
    if math.isinf(addend):
        return addend
    (m1, e1), (m2, e2) = _split(left), _split(right)
    zero = _zero_sum(_sign(left, right) * 0.0, addend) if addend == 0 and m1 * m2 == 0 else _zero_sum(1.0, -1.0)
    return _sum(kind, m1 * m2, e1 + e2, *_split(addend), zero=zero)


def from_integer(kind: FloatType, value: int) -> float:
    """An integer as a float."""
    return rounded(kind, value < 0, abs(value), 0) if value else 0.0


def to_format(kind: FloatType, source: FloatType, value: float) -> float:
    """A float in another format."""
    if math.isnan(value):
        return _nan_of(source, value)
    if math.isinf(value) or value == 0:
        return value
    mantissa, exponent = _split(value)
    return rounded(kind, value < 0, abs(mantissa), exponent)


def to_integer(kind: IntType, source: FloatType, value: float) -> int:
    """Toward zero; outside the type's range the nearest end, without a flag; NaN gives 0."""
    lowest, highest = (-1 << (kind.bits - 1), (1 << (kind.bits - 1)) - 1) if kind.signed else (0, (1 << kind.bits) - 1)
    if math.isnan(value):
        _nan_of(source, value)
        return 0
    if not lowest <= value < highest + 1:
        return lowest if value < 0 else highest
    if value != math.trunc(value):
        state.flags |= NX
    return math.trunc(value)


def round_to_i64(source: FloatType, value: float) -> int:
    """By the rounding mode; the lowest integer, and NV, where none fits."""
    if not math.isfinite(value):
        state.flags |= NV
        return _LEAST_I64
    mantissa, exponent = _split(value)
    magnitude, inexact = _cut(value < 0, abs(mantissa), -exponent)
    result = -magnitude if value < 0 else magnitude
    if not _LEAST_I64 <= result < -_LEAST_I64:
        state.flags |= NV
        return _LEAST_I64
    state.flags |= inexact
    return result


def compare(kind: FloatType, test: Any, left: float, right: float, signaling: bool = False) -> bool:
    """A comparison; signaling ones raise NV for any NaN."""
    if math.isnan(left) or math.isnan(right):
        _nan_of(kind, left, right)
        state.flags |= NV if signaling else 0
    return bool(test(left, right))
