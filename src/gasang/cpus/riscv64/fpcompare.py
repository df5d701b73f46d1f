"""Floating-point instructions that never round: signs, minimum and maximum, classes; on bits, for both formats."""

from __future__ import annotations

from gasang.cpus.riscv64.fp import accrue, operand, put_bits
from gasang.cpus.riscv64.softfloat import NV, canonical_nan, fraction_bits, infinity, is_nan, is_signaling, magnitude, sign_of
from gasang.cpus.riscv64.state import Cpu
from gasang.native import i64, native, ptr, u8, u64, unlikely


@native
def total_order(width: u64, bits: u64) -> i64:
    """A number's bits as an integer that is ordered as the numbers are, -0 before +0."""
    top: i64 = i64(bits << (64 - width))
    return top ^ i64(u64(top >> 63) >> 1)


@native(inline=True)
def lesser_or_greater(cpu: ptr[Cpu], width: u64, greater: u64, fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = minimumNumber or (`greater` = 1) maximumNumber of fs1 and fs2 (20.6)."""
    a: u64 = operand(cpu, width, fs1)
    b: u64 = operand(cpu, width, fs2)
    if unlikely(is_nan(width, a) or is_nan(width, b)):
        put_number(cpu, width, fd, a, b)
    elif (total_order(width, a) < total_order(width, b)) == (greater == 0):
        put_bits(cpu, width, fd, a)
    else:
        put_bits(cpu, width, fd, b)


@native(inline=False)
def put_number(cpu: ptr[Cpu], width: u64, fd: u8, a: u64, b: u64) -> None:
    """fd = the one that is a number, if any; only a signaling NaN is invalid."""
    if is_signaling(width, a) or is_signaling(width, b):
        accrue(cpu, NV)
    number: u64 = b if is_nan(width, a) else a
    put_bits(cpu, width, fd, canonical_nan(width) if is_nan(width, number) else number)


@native
def class_of(width: u64, bits: u64) -> u64:
    """One bit that says what kind of number this is (20.9, table "Format of result of FCLASS instruction")."""
    size: u64 = magnitude(width, bits)
    if size > infinity(width):
        return 1 << 8 if is_signaling(width, bits) else 1 << 9
    rank: u64 = 0
    if size == infinity(width):
        rank = 3
    elif size >> fraction_bits(width) != 0:
        rank = 2
    elif size != 0:
        rank = 1
    return u64(1) << (3 - rank if sign_of(width, bits) == 1 else 4 + rank)
