"""IEEE 754 numbers as integers: taking them apart, rounding, putting them together.

Functions take a format by its `width`, 32 (binary32) or 64 (binary64), and a number as the bits of that format in a u64.
A finite number other than zero is (-1)**sign * significand / 2**63 * 2**exponent, with bit 63 of the significand set.

What an operation gives, an *outcome*, is a u128: the result's bits in the lower half, the flags it raises in the upper half.
Rounding modes and flags have RISC-V's numbers (unprivileged specification, 20.2). Nothing here touches the host's FPU.
"""

from __future__ import annotations

from gasang.native import boolean, clz, i64, native, u64, u128

RNE, RTZ, RDN, RUP, RMM, DYN = 0, 1, 2, 3, 4, 7
"""To nearest (ties to even), toward zero, down, up, to nearest (ties away from zero); in an instruction: as frm says."""

NX, UF, OF, DZ, NV = 1, 2, 4, 8, 16
"""Inexact, underflow, overflow, division by zero, invalid operation."""


@native
def fraction_bits(width: u64) -> u64:
    """How many bits of the significand are stored (IEEE 754, table 3.5)."""
    return 23 if width == 32 else 52


@native
def bias(width: u64) -> i64:
    """The exponent bias, which is also the greatest exponent; the least one of a normal number is 1 - bias."""
    return 127 if width == 32 else 1023


@native
def sign_bit(width: u64) -> u64:
    """The bit that says negative."""
    return 0x8000_0000 if width == 32 else 0x8000_0000_0000_0000


@native
def infinity(width: u64) -> u64:
    """Plus infinity; anything greater, the sign bit apart, is a NaN."""
    return 0x7F80_0000 if width == 32 else 0x7FF0_0000_0000_0000


@native
def canonical_nan(width: u64) -> u64:
    """The only NaN that an operation gives (20.3)."""
    return 0x7FC0_0000 if width == 32 else 0x7FF8_0000_0000_0000


@native
def sign_of(width: u64, a: u64) -> u64:
    """1 if negative, -0 and NaNs included."""
    return (a >> (width - 1)) & 1


@native
def magnitude(width: u64, a: u64) -> u64:
    """The number without its sign."""
    return a & (sign_bit(width) - 1)


@native
def is_nan(width: u64, a: u64) -> boolean:
    """Whether `a` is a NaN of either kind."""
    return magnitude(width, a) > infinity(width)


@native
def is_signaling(width: u64, a: u64) -> boolean:
    """Whether `a` is a NaN whose quiet bit is clear."""
    return is_nan(width, a) and (a >> (fraction_bits(width) - 1)) & 1 == 0


@native
def is_infinite(width: u64, a: u64) -> boolean:
    """Whether `a` is an infinity."""
    return magnitude(width, a) == infinity(width)


@native
def significand(width: u64, a: u64) -> u64:
    """The significand of a finite number other than zero, its leading bit at 63."""
    bits: u64 = magnitude(width, a)
    stored: u64 = fraction_bits(width)
    if bits >> stored == 0:
        return u64(bits << clz(bits))
    # The exponent's lowest bit lands where the leading digit belongs, the others above.
    return (bits << (63 - stored)) | (1 << 63)


@native
def exponent(width: u64, a: u64) -> i64:
    """The exponent of a finite number other than zero."""
    bits: u64 = magnitude(width, a)
    stored: u64 = fraction_bits(width)
    if bits >> stored == 0:
        return i64(64 - stored) - bias(width) - i64(clz(bits))
    return i64(bits >> stored) - bias(width)


@native
def outcome(bits: u64, flags: u64) -> u128:
    """A result and the flags it raises."""
    return (u128(flags) << 64) | u128(bits)


@native
def invalid(width: u64) -> u128:
    """What an operation without a usefully definable result gives (IEEE 754, 7.2)."""
    return outcome(canonical_nan(width), NV)


@native
def nan_outcome(width: u64, signaling: boolean) -> u128:
    """What an operation on NaNs gives: invalid if any of them was signaling."""
    return outcome(canonical_nan(width), NV if signaling else 0)


@native
def exact_zero(width: u64, rounding: u64) -> u128:
    """The zero that a sum of opposite numbers is: negative only when rounding down (IEEE 754, 6.3)."""
    return outcome(sign_bit(width) if rounding == RDN else 0, 0)


@native
def shift_right_sticky(x: u128, count: u64) -> u128:
    """x >> count for any count; the lowest bit stays set if any bit set was shifted out, so that rounding sees it."""
    if count == 0:
        return x
    if count > 127:
        return u128(x != 0)
    return (x >> u128(count)) | u128((x << u128(128 - count)) != 0)


@native
def rounds_away(rounding: u64, sign: u64, odd: u64, fraction: u64) -> boolean:
    """Whether a number with `fraction` / 2**64 below its last kept digit goes to the neighbour farther from zero.

    `odd` is that last digit; the lowest bit of `fraction` may stand for anything below it.
    """
    half: u64 = 1 << 63
    if rounding == RNE:
        return fraction > half or (fraction == half and odd == 1)
    if rounding == RMM:
        return fraction >= half
    if rounding == RDN:
        return fraction != 0 and sign == 1
    if rounding == RUP:
        return fraction != 0 and sign == 0
    return False


@native
def overflowed(width: u64, rounding: u64, sign: u64) -> u128:
    """Beyond the greatest number: that number or infinity, whichever the rounding mode leads to (IEEE 754, 7.4)."""
    bits: u64 = infinity(width) if rounds_away(rounding, sign, 1, 0xFFFF_FFFF_FFFF_FFFF) else infinity(width) - 1
    return outcome(bits | (sign << (width - 1)), OF | NX)


@native
def rounded(width: u64, rounding: u64, sign: u64, scale: i64, x: u128) -> u128:
    """The number of the format nearest to (-1)**sign * x / 2**127 * 2**scale, x > 0, by the rounding mode.

    The lowest bit of x may stand for anything below it, if x has a leading bit at 64 or above. Tininess is found after rounding.
    """
    zeros: u128 = clz(x)
    shifted: u128 = x << zeros
    top: u64 = u64(shifted >> 64) | u64(u64(shifted) != 0)
    power: i64 = scale - i64(zeros)
    stored: u64 = fraction_bits(width)
    least: i64 = 1 - bias(width)
    kept: u64 = top >> (63 - stored)
    fraction: u64 = top << (stored + 1)
    up: boolean = rounds_away(rounding, sign, kept & 1, fraction)
    if power > bias(width):
        return overflowed(width, rounding, sign)
    tiny: boolean = False
    biased: u64 = 0
    if power < least:
        # With an unbounded exponent, rounding would still carry the greatest significand below to the least normal number.
        tiny = not (power == least - 1 and up and kept == (u64(2) << stored) - 1)
        below: u128 = shift_right_sticky(u128(top) << 64, u64(least - power))
        fixed: u128 = below >> u128(63 - stored)
        kept = u64(fixed >> 64)
        fraction = u64(fixed) | u64((below & ((u128(1) << u128(63 - stored)) - 1)) != 0)
        up = rounds_away(rounding, sign, kept & 1, fraction)
    else:
        # The leading digit, stored nowhere, adds the missing one.
        biased = u64(power - least)
    bits: u64 = (biased << stored) + kept + u64(up)
    if bits >= infinity(width):
        return overflowed(width, rounding, sign)
    flags: u64 = 0
    if fraction != 0:
        flags = NX | UF if tiny else NX
    return outcome(bits | (sign << (width - 1)), flags)
