"""The 128-bit divisions LLVM calls by name and expects a C runtime to have: our own, linked into the modules that need them.

The names and their meaning are those of the compiler-rt / libgcc integer library.
"""

from __future__ import annotations

from gasang.native.function import native
from gasang.native.names import clz
from gasang.native.types import i128, u64, u128


@native(inline=False)
def divide_wide(dividend: u128, divisor: u128, want_rest: u64) -> u128:
    """Schoolbook shift and subtract; the callers' divisors are never 0 here, a divisor of 0 gives all ones."""
    if divisor == 0:
        return dividend if want_rest != 0 else ~u128(0)
    if divisor > dividend:
        return dividend if want_rest != 0 else u128(0)
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
    quotient = divide_wide(u128(-a if a < 0 else a), u128(-b if b < 0 else b), 0)
    return i128(-quotient if (a ^ b) < 0 else quotient)


@native(external_name="__modti3")
def modti3(a: i128, b: i128) -> i128:
    """Rest with the dividend's sign."""
    rest = divide_wide(u128(-a if a < 0 else a), u128(-b if b < 0 else b), 1)
    return i128(-rest if a < 0 else rest)


BUILTINS = {function.external_name: function for function in (udivti3, umodti3, divti3, modti3)}
