"""Conversions between floating-point and integer registers on the host's FPU, for both formats."""

from __future__ import annotations

from gasang.cpus.riscv64.fp import (
    BOXED,
    double,
    fp_dirty,
    host_rounds,
    put_bits,
    rounding_mode,
    single,
    software_from_integer,
    software_to_integer,
)
from gasang.cpus.riscv64.softconvert import LU, WU, W
from gasang.cpus.riscv64.softfloat import RTZ, bias, fraction_bits, magnitude
from gasang.cpus.riscv64.state import Cpu
from gasang.native import bitcast, boolean, f32, f64, i32, i64, likely, native, ptr, round_to_i64, u8, u32, u64, unlikely


@native(inline=True)
def power_of_two(width: u64, exponent: u64) -> u64:
    """The bits of 2**exponent."""
    return (exponent + u64(bias(width))) << fraction_bits(width)


@native(inline=True)
def below(width: u64, kind: u64, bits: u64, exponent: u64) -> boolean:
    """Whether a register's number has the sign of the integers of `kind` and is less than 2**exponent; never if not boxed."""
    payload: u64 = bits - BOXED if width == 32 else bits
    if kind & 1 == 0:
        payload = magnitude(64, payload) if width == 64 else payload & 0xFFFF_FFFF_7FFF_FFFF
    return payload < power_of_two(width, exponent)


@native(inline=True)
def as_double(width: u64, bits: u64) -> f64:
    """A register's number, exactly."""
    return double(bits) if width == 64 else f64(single(bits))


@native(inline=True)
def put_integer(cpu: ptr[Cpu], kind: u64, rd: u8, value: i64) -> None:
    """Write an integer in the range of its kind; 32 bits are sign-extended, the unsigned ones too."""
    cpu.x[rd] = u64(i32(value)) if kind == WU else u64(value)
    fp_dirty(cpu)


@native(may_fault=True, inline=True)
def to_integer(cpu: ptr[Cpu], width: u64, kind: u64, rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as an integer of `kind`; what might not fit goes through software (20.7).

    The host's conversion is the signed 64-bit one, so a 32-bit result must be known to fit: to the nearest it could round up to
    the next power of two, hence one binary digit less.
    """
    bits: u64 = cpu.f[fs1]
    whole: u64 = 63
    if kind == W:
        whole = 31
    elif kind == WU:
        whole = 32
    near: u64 = whole if whole == 63 else whole - 1
    if rm == RTZ and likely(below(width, kind, bits, whole)):
        put_integer(cpu, kind, rd, i64(as_double(width, bits)))
    elif likely(host_rounds(cpu, rm) and below(width, kind, bits, near)):
        put_integer(cpu, kind, rd, round_to_i64(as_double(width, bits)))
    else:
        software_to_integer(cpu, rm, width, kind, rd, fs1)


@native(may_fault=True, inline=True)
def single_from_integer(cpu: ptr[Cpu], kind: u64, fd: u8, rs1: u8, rm: u8) -> None:
    """fd = the integer in rs1 as binary32 (20.7)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_from_integer(cpu, rm, 32, kind, fd, rs1)
        return
    value: i64 = integer_operand(cpu, kind, rs1)
    if kind == LU and value < 0:
        half: f32 = f32(half_sticky(value))
        put_bits(cpu, 32, fd, u64(bitcast(u32, half + half)))
    else:
        put_bits(cpu, 32, fd, u64(bitcast(u32, f32(value))))


@native(may_fault=True, inline=True)
def double_from_integer(cpu: ptr[Cpu], kind: u64, fd: u8, rs1: u8, rm: u8) -> None:
    """fd = the integer in rs1 as binary64 (21.5). 32 bits are exact in any rounding mode, which must only be a valid one."""
    if kind <= WU:
        rounding_mode(cpu, rm)
    elif unlikely(not host_rounds(cpu, rm)):
        software_from_integer(cpu, rm, 64, kind, fd, rs1)
        return
    value: i64 = integer_operand(cpu, kind, rs1)
    if kind == LU and value < 0:
        half: f64 = f64(half_sticky(value))
        put_bits(cpu, 64, fd, bitcast(u64, half + half))
    else:
        put_bits(cpu, 64, fd, bitcast(u64, f64(value)))


@native(inline=True)
def integer_operand(cpu: ptr[Cpu], kind: u64, rs1: u8) -> i64:
    """The integer in rs1; an unsigned 64-bit one of 2**63 or more appears negative."""
    value: u64 = cpu.x[rs1]
    if kind == W:
        value = u64(i32(value))
    elif kind == WU:
        value = u64(u32(value))
    return i64(value)


@native(inline=True)
def half_sticky(value: i64) -> i64:
    """Half of an unsigned integer, the lost bit kept in the lowest so that rounding sees it."""
    bits: u64 = u64(value)
    return i64((bits >> 1) | (bits & 1))
