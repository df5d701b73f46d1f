"""Conversions between binary32, binary64 and integers, in integers (IEEE 754, 5.4); formats and outcomes as in `softfloat`.

An integer is named by the number its instructions carry (unprivileged specification, 20.7): W, WU, L or LU. It is given as it
stands in a register: 32 bits are sign-extended, the unsigned ones too.
"""

from __future__ import annotations

from gasang.cpus.riscv64.softfloat import (
    NV,
    NX,
    exponent,
    infinity,
    is_infinite,
    is_nan,
    is_signaling,
    magnitude,
    nan_outcome,
    outcome,
    rounded,
    rounds_away,
    shift_right_sticky,
    sign_of,
    significand,
)
from gasang.native import boolean, i32, i64, native, u32, u64, u128

W, WU, L, LU = 0, 1, 2, 3
"""Signed 32 bits, unsigned 32, signed 64, unsigned 64."""


@native(inline=False)
def soft_to_format(width: u64, to: u64, rounding: u64, a: u64) -> u128:
    """The number a of format `width` in format `to`."""
    if is_nan(width, a):
        return nan_outcome(to, is_signaling(width, a))
    sign: u64 = sign_of(width, a)
    if is_infinite(width, a):
        return outcome((sign << (to - 1)) | infinity(to), 0)
    if magnitude(width, a) == 0:
        return outcome(sign << (to - 1), 0)
    return rounded(to, rounding, sign, exponent(width, a), u128(significand(width, a)) << 64)


@native(inline=False)
def soft_from_integer(width: u64, rounding: u64, kind: u64, x: u64) -> u128:
    """The integer x in format `width`; only the lower half of x counts for W and WU."""
    value: u64 = x
    if kind == W:
        value = u64(i32(u32(x)))
    elif kind == WU:
        value = u64(u32(x))
    if value == 0:
        return outcome(0, 0)
    sign: u64 = 0
    if kind & 1 == 0 and i64(value) < 0:
        sign = 1
        value = 0 - value
    return rounded(width, rounding, sign, 63, u128(value) << 64)


@native(inline=False)
def soft_to_integer(width: u64, rounding: u64, kind: u64, a: u64) -> u128:
    """a as an integer; out of range gives the nearest end of the range and only NV, a NaN counts as +infinity (20.7)."""
    if is_nan(width, a):
        return _integer_outcome(kind, 0, _limit(kind, 0), NV)
    sign: u64 = sign_of(width, a)
    if magnitude(width, a) == 0:
        return outcome(0, 0)
    if is_infinite(width, a) or exponent(width, a) > 63:
        return _integer_outcome(kind, sign, _limit(kind, sign), NV)
    fixed: u128 = shift_right_sticky(u128(significand(width, a)) << 64, u64(63 - exponent(width, a)))
    whole: u64 = u64(fixed >> 64)
    fraction: u64 = u64(fixed)
    up: boolean = rounds_away(rounding, sign, whole & 1, fraction)
    whole = whole + u64(up)
    if whole > _limit(kind, sign):
        return _integer_outcome(kind, sign, _limit(kind, sign), NV)
    return _integer_outcome(kind, sign, whole, NX if fraction != 0 else 0)


@native
def _limit(kind: u64, sign: u64) -> u64:
    """The greatest magnitude that an integer of this sign can have."""
    if kind & 1 == 1:
        if sign == 1:
            return 0
        return 0xFFFF_FFFF if kind == WU else 0xFFFF_FFFF_FFFF_FFFF
    largest: u64 = 0x7FFF_FFFF if kind == W else 0x7FFF_FFFF_FFFF_FFFF
    return largest + sign


@native
def _integer_outcome(kind: u64, sign: u64, whole: u64, flags: u64) -> u128:
    """An integer as it stands in a register, and flags."""
    value: u64 = 0 - whole if sign == 1 else whole
    return outcome(value if kind >= L else u64(i32(u32(value))), flags)
