"""Arithmetic on binary32 and binary64 in integers, in any rounding mode (IEEE 754, 5.4.1); formats and outcomes as in `softfloat`."""

from __future__ import annotations

from gasang.cpus.riscv64.softfloat import (
    DZ,
    exact_zero,
    exponent,
    infinity,
    invalid,
    is_infinite,
    is_nan,
    is_signaling,
    magnitude,
    nan_outcome,
    outcome,
    rounded,
    shift_right_sticky,
    sign_bit,
    sign_of,
    significand,
)
from gasang.native import boolean, i64, maximum, native, u64, u128


@native(inline=False)
def soft_add(width: u64, rounding: u64, a: u64, b: u64) -> u128:
    """a + b."""
    if is_nan(width, a) or is_nan(width, b):
        return nan_outcome(width, is_signaling(width, a) or is_signaling(width, b))
    if is_infinite(width, a):
        return invalid(width) if is_infinite(width, b) and a != b else outcome(a, 0)
    if is_infinite(width, b):
        return outcome(b, 0)
    if magnitude(width, a) == 0:
        return _zero_plus(width, rounding, sign_of(width, a), b)
    if magnitude(width, b) == 0:
        return outcome(a, 0)
    left: u128 = u128(significand(width, a)) << 62
    right: u128 = u128(significand(width, b)) << 62
    return _sum(width, rounding, sign_of(width, a), exponent(width, a) + 2, left, sign_of(width, b), exponent(width, b) + 2, right)


@native(inline=False)
def soft_subtract(width: u64, rounding: u64, a: u64, b: u64) -> u128:
    """a - b."""
    return soft_add(width, rounding, a, b ^ sign_bit(width))


@native(inline=False)
def soft_multiply(width: u64, rounding: u64, a: u64, b: u64) -> u128:
    """a * b."""
    if is_nan(width, a) or is_nan(width, b):
        return nan_outcome(width, is_signaling(width, a) or is_signaling(width, b))
    if _infinity_times_zero(width, a, b):
        return invalid(width)
    sign: u64 = (a ^ b) & sign_bit(width)
    if is_infinite(width, a) or is_infinite(width, b):
        return outcome(sign | infinity(width), 0)
    if magnitude(width, a) == 0 or magnitude(width, b) == 0:
        return outcome(sign, 0)
    product: u128 = u128(significand(width, a)) * u128(significand(width, b))
    return rounded(width, rounding, sign_of(width, a ^ b), exponent(width, a) + exponent(width, b) + 1, product)


@native(inline=False)
def soft_fma(width: u64, rounding: u64, a: u64, b: u64, c: u64) -> u128:
    """a * b + c, rounded once; infinity times zero is invalid even if c is a NaN (20.6)."""
    if _infinity_times_zero(width, a, b):
        return invalid(width)
    if is_nan(width, a) or is_nan(width, b) or is_nan(width, c):
        return nan_outcome(width, is_signaling(width, a) or is_signaling(width, b) or is_signaling(width, c))
    sign: u64 = sign_of(width, a ^ b)
    if is_infinite(width, a) or is_infinite(width, b):
        if is_infinite(width, c) and sign_of(width, c) != sign:
            return invalid(width)
        return outcome((sign << (width - 1)) | infinity(width), 0)
    if is_infinite(width, c):
        return outcome(c, 0)
    if magnitude(width, a) == 0 or magnitude(width, b) == 0:
        return _zero_plus(width, rounding, sign, c)
    product: u128 = u128(significand(width, a)) * u128(significand(width, b))
    power: i64 = exponent(width, a) + exponent(width, b) + 1
    if magnitude(width, c) == 0:
        return rounded(width, rounding, sign, power, product)
    # Significands have 53 digits at most, so a product ends in 22 zeroes: the shift by 2 loses nothing.
    addend: u128 = u128(significand(width, c)) << 62
    return _sum(width, rounding, sign, power + 2, product >> 2, sign_of(width, c), exponent(width, c) + 2, addend)


@native(inline=False)
def soft_divide(width: u64, rounding: u64, a: u64, b: u64) -> u128:
    """a / b."""
    if is_nan(width, a) or is_nan(width, b):
        return nan_outcome(width, is_signaling(width, a) or is_signaling(width, b))
    sign: u64 = (a ^ b) & sign_bit(width)
    if is_infinite(width, a):
        return invalid(width) if is_infinite(width, b) else outcome(sign | infinity(width), 0)
    if is_infinite(width, b):
        return outcome(sign, 0)
    if magnitude(width, b) == 0:
        return invalid(width) if magnitude(width, a) == 0 else outcome(sign | infinity(width), DZ)
    if magnitude(width, a) == 0:
        return outcome(sign, 0)
    dividend: u128 = u128(significand(width, a)) << 63
    divisor: u128 = u128(significand(width, b))
    quotient: u128 = dividend // divisor
    sticky: u128 = u128(quotient * divisor != dividend)
    return rounded(width, rounding, sign_of(width, a ^ b), exponent(width, a) - exponent(width, b), (quotient << 64) | sticky)


@native(inline=False)
def soft_sqrt(width: u64, rounding: u64, a: u64) -> u128:
    """The square root of a; of -0 it is -0."""
    if is_nan(width, a):
        return nan_outcome(width, is_signaling(width, a))
    if magnitude(width, a) == 0:
        return outcome(a, 0)
    if sign_of(width, a) == 1:
        return invalid(width)
    if is_infinite(width, a):
        return outcome(a, 0)
    odd: i64 = exponent(width, a) & 1
    radicand: u128 = u128(significand(width, a)) << u128(63 + odd)
    root: u128 = _integer_root(radicand)
    sticky: u128 = u128(root * root != radicand)
    return rounded(width, rounding, 0, (exponent(width, a) - odd) >> 1, (root << 64) | sticky)


@native
def _infinity_times_zero(width: u64, a: u64, b: u64) -> boolean:
    zero_first: boolean = magnitude(width, a) == 0 and is_infinite(width, b)
    return zero_first or (is_infinite(width, a) and magnitude(width, b) == 0)


@native
def _zero_plus(width: u64, rounding: u64, sign: u64, b: u64) -> u128:
    """A zero of the given sign plus the finite number b."""
    if magnitude(width, b) == 0 and sign_of(width, b) != sign:
        return exact_zero(width, rounding)
    return outcome(b, 0)


@native
def _sum(width: u64, rounding: u64, sign_a: u64, scale_a: i64, a: u128, sign_b: u64, scale_b: i64, b: u128) -> u128:
    """The rounded sum of two numbers as `rounded` takes them, both below 2**126.

    A digit is lost below only where the scales differ so much that at most one leading digit can cancel.
    """
    scale: i64 = maximum(scale_a, scale_b)
    left: u128 = shift_right_sticky(a, u64(scale - scale_a))
    right: u128 = shift_right_sticky(b, u64(scale - scale_b))
    if sign_a == sign_b:
        return rounded(width, rounding, sign_a, scale, left + right)
    if left == right:
        return exact_zero(width, rounding)
    if left > right:
        return rounded(width, rounding, sign_a, scale, left - right)
    return rounded(width, rounding, sign_b, scale, right - left)


@native
def _integer_root(x: u128) -> u128:
    """The integer square root of x, digit by digit."""
    root: u128 = 0
    rest: u128 = x
    bit: u128 = u128(1) << 126
    while bit != 0:
        if rest >= root + bit:
            rest = rest - (root + bit)
            root = (root >> 1) + bit
        else:
            root = root >> 1
        bit = bit >> 2
    return root
