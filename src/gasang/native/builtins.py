"""The 128-bit operations LLVM calls by name and expects a C runtime to have: our own, linked into the modules that need them.

The names and their meaning are those of the compiler-rt / libgcc integer library. LLVM calls none of the divisions with a divisor of 0
here, nor a conversion to an integer with a number that does not fit: the code around them sees to it.
"""

from __future__ import annotations

from gasang.native import bitcast, clz, f32, f64, i64, i128, native, u32, u64, u128

F64_FRACTION, F64_BIAS = 52, 1023
F32_FRACTION, F32_BIAS = 23, 127
EXPONENT_MASK = 0x7FF
HALF_MASK = 0xFFFF_FFFF_FFFF_FFFF


@native(inline=False)
def divide_wide(dividend: u128, divisor: u128, want_rest: u64) -> u128:
    """Quotient or rest: by the host's 64-bit division where both fit, else by shift and subtract."""
    if (dividend | divisor) >> 64 == 0:
        return u128(u64(dividend) % u64(divisor) if want_rest != 0 else u64(dividend) // u64(divisor))
    if divisor > dividend:
        return dividend if want_rest != 0 else 0
    shift: u128 = clz(divisor) - clz(dividend)
    rest: u128 = dividend
    part: u128 = divisor << shift
    quotient: u128 = 0
    for _ in range(u64(shift) + 1):
        quotient = quotient << 1
        if rest >= part:
            rest = rest - part
            quotient = quotient | 1
        part = part >> 1
    return rest if want_rest != 0 else quotient


@native
def magnitude(a: i128) -> u128:
    """The absolute value."""
    return u128(-a if a < 0 else a)


@native(external_name="__udivti3")
def udivti3(a: u128, b: u128) -> u128:
    """Unsigned quotient."""
    return divide_wide(a, b, 0)


@native(external_name="__umodti3")
def umodti3(a: u128, b: u128) -> u128:
    """Unsigned rest."""
    return divide_wide(a, b, 1)


@native(external_name="__divti3")
def divti3(a: i128, b: i128) -> i128:
    """Quotient truncated toward zero."""
    quotient = divide_wide(magnitude(a), magnitude(b), 0)
    return i128(-quotient if (a ^ b) < 0 else quotient)


@native(external_name="__modti3")
def modti3(a: i128, b: i128) -> i128:
    """Rest with the dividend's sign."""
    rest = divide_wide(magnitude(a), magnitude(b), 1)
    return i128(-rest if a < 0 else rest)


@native
def lost_places(a: u128) -> u128:
    """By how much to shift a magnitude right so that 63 bits remain."""
    leading = clz(a)
    return 65 - leading if leading < 65 else 0


@native
def upper_places(a: u128, negative: u64) -> i64:
    """The upper 63 bits of a magnitude with its sign; the lowest also stands for all that were cut off, so that rounding goes right."""
    places = lost_places(a)
    top: u64 = u64(a >> places) | u64(a & ((u128(1) << places) - 1) != 0)
    return i64(-top if negative != 0 else top)


@native(external_name="__floatuntidf")
def floatuntidf(a: u128) -> f64:
    """Unsigned to binary64. The scaling is exact."""
    return f64(upper_places(a, 0)) * bitcast(f64, (u64(lost_places(a)) + F64_BIAS) << F64_FRACTION)


@native(external_name="__floattidf")
def floattidf(a: i128) -> f64:
    """Signed to binary64."""
    wide = magnitude(a)
    return f64(upper_places(wide, u64(a < 0))) * bitcast(f64, (u64(lost_places(wide)) + F64_BIAS) << F64_FRACTION)


@native(external_name="__floatuntisf")
def floatuntisf(a: u128) -> f32:
    """Unsigned to binary32, which can overflow."""
    return f32(upper_places(a, 0)) * bitcast(f32, (u32(lost_places(a)) + F32_BIAS) << F32_FRACTION)


@native(external_name="__floattisf")
def floattisf(a: i128) -> f32:
    """Signed to binary32."""
    wide = magnitude(a)
    return f32(upper_places(wide, u64(a < 0))) * bitcast(f32, (u32(lost_places(wide)) + F32_BIAS) << F32_FRACTION)


@native(external_name="__fixdfti")
def fixdfti(a: f64) -> i128:
    """Binary64 to signed, toward zero."""
    bits = bitcast(u64, a)
    exponent: u64 = (bits >> F64_FRACTION) & EXPONENT_MASK
    if exponent < F64_BIAS + 63:
        return i128(i64(a))
    fraction: u128 = u128(bits & ((1 << F64_FRACTION) - 1) | (1 << F64_FRACTION))
    shifted: i128 = i128(fraction << u128(exponent - (F64_BIAS + F64_FRACTION)))
    return -shifted if bits >> 63 != 0 else shifted


@native(external_name="__fixunsdfti")
def fixunsdfti(a: f64) -> u128:
    """Binary64 to unsigned, toward zero."""
    return u128(fixdfti(a))


@native(external_name="__fixsfti")
def fixsfti(a: f32) -> i128:
    """Binary32 to signed, toward zero."""
    return fixdfti(f64(a))


@native(external_name="__fixunssfti")
def fixunssfti(a: f32) -> u128:
    """Binary32 to unsigned, toward zero."""
    return u128(fixdfti(f64(a)))


# What in a module's text makes LLVM call a function.
OPERATIONS = {
    "udiv i128": "__udivti3", "urem i128": "__umodti3", "sdiv i128": "__divti3", "srem i128": "__modti3",
    "uitofp.f64.i128": "__floatuntidf", "sitofp.f64.i128": "__floattidf", "uitofp.f32.i128": "__floatuntisf",
    "sitofp.f32.i128": "__floattisf", "fptosi.i128.f64": "__fixdfti", "fptoui.i128.f64": "__fixunsdfti",
    "fptosi.i128.f32": "__fixsfti", "fptoui.i128.f32": "__fixunssfti",
}  # fmt: skip
BUILTINS = {
    function.external_name: function
    for function in (
        udivti3, umodti3, divti3, modti3, floatuntidf, floattidf, floatuntisf, floattisf, fixdfti, fixunsdfti, fixsfti, fixunssfti,
    )
}  # fmt: skip
