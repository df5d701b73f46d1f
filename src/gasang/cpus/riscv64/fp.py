"""What the floating-point instructions share: registers, rounding modes, flags, and the way into software.

The host's FPU does the work: while a hart runs, its thread has the hart's rounding mode (`set_float_control` whenever frm is
written), and the flags accrue in the host's own. Where the host cannot round as asked (a static mode other than frm, or
RMM), an operand is not NaN-boxed, or a NaN comes out of a fused multiplication, the same is computed in integers.

That x is no NaN is asked as x >= x: hosts test it with one flag, unlike x == x, and it raises nothing for quiet NaNs.

On hosts that find tininess before rounding (Arm), a result that rounds up to the least normal number raises UF, which RISC-V
does not do there; x86 finds it after rounding, as RISC-V does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gasang.cpus.riscv64.softconvert import soft_from_integer, soft_to_format, soft_to_integer
from gasang.cpus.riscv64.softfloat import DYN, RMM, canonical_nan, sign_bit
from gasang.cpus.riscv64.softmath import soft_fma
from gasang.cpus.riscv64.state import Cpu
from gasang.cpus.riscv64.trap import ILLEGAL_INSTRUCTION, raise_exception
from gasang.native import (
    Fault,
    bitcast,
    boolean,
    f32,
    f64,
    float_flags,
    fma,
    function_type,
    likely,
    native,
    ptr,
    set_float_control,
    u8,
    u32,
    u64,
    u128,
    unlikely,
)

BOXED = 0xFFFF_FFFF_0000_0000
"""The upper half of a register that holds a binary32 number (21.2)."""

FS_DIRTY = 3

RM_FIELD, RM_DYNAMIC, RM_TOWARD_ZERO = 0x7000, 0x7000, 0x1000
"""The rounding mode's place in an rm, and two of its values there."""

if TYPE_CHECKING:
    UnaryOperation = Callable[[int, int, int], int]
    BinaryOperation = Callable[[int, int, int, int], int]
else:
    UnaryOperation = function_type([u64, u64, u64], u128)
    BinaryOperation = function_type([u64, u64, u64, u64], u128)


@native
def fp_dirty(cpu: ptr[Cpu]) -> None:
    """Floating-point registers or flags may have changed."""
    cpu.fs = FS_DIRTY


@native
def accrue(cpu: ptr[Cpu], flags: u64) -> None:
    """Raise flags that the host's FPU did not raise by itself."""
    if flags != 0:
        set_float_control(u32(cpu.frm), float_flags() | u32(flags))


@native(inline=True)
def host_rounds(cpu: ptr[Cpu], rm: u8) -> boolean:
    """Whether the thread's rounding mode is the one that an instruction's `rm` asks for."""
    frm: u64 = cpu.frm
    return frm < RMM and (likely(rm == DYN) or u64(rm) == frm)


@native(may_fault=True)
def rounding_mode(cpu: ptr[Cpu], rm: u8) -> u64:
    """The rounding mode that an instruction's `rm` asks for; illegal instruction if it is a reserved one (20.2)."""
    mode: u64 = u64(rm)
    if rm == DYN:
        mode = cpu.frm
    if unlikely(mode > RMM):
        raise_exception(cpu, ILLEGAL_INSTRUCTION, 0)
        raise Fault
    return mode


@native(inline=True)
def double(bits: u64) -> f64:
    """The binary64 number that a register holds."""
    return f64(bitcast(f64, bits))


@native(inline=True)
def single(bits: u64) -> f32:
    """The binary32 number that a register holds, if it is boxed."""
    return f32(bitcast(f32, u32(bits)))


@native(inline=True)
def all_boxed(conjunction: u64) -> boolean:
    """Whether all registers that were combined by & are boxed."""
    return conjunction >= BOXED


@native(inline=True)
def unboxed(cpu: ptr[Cpu], register: u8) -> u64:
    """The bits of a register's binary32 number: the canonical NaN if it is not boxed (21.2)."""
    bits: u64 = cpu.f[register]
    return bits - BOXED if bits >= BOXED else canonical_nan(32)


@native(inline=True)
def operand(cpu: ptr[Cpu], width: u64, register: u8) -> u64:
    """The bits of a register's number in format `width`."""
    return unboxed(cpu, register) if width == 32 else cpu.f[register]


@native(inline=True)
def put_bits(cpu: ptr[Cpu], width: u64, fd: u8, bits: u64) -> None:
    """Write a number's bits to a register, boxed if they are 32."""
    cpu.f[fd] = bits | BOXED if width == 32 else bits
    fp_dirty(cpu)


@native(inline=True)
def put_double(cpu: ptr[Cpu], fd: u8, value: f64) -> None:
    """Write a result to a register; any NaN becomes the canonical one, whose payload the host would choose otherwise."""
    if likely(value >= value):
        cpu.f[fd] = bitcast(u64, value)
    else:
        cpu.f[fd] = canonical_nan(64)
    fp_dirty(cpu)


@native(inline=True)
def put_single(cpu: ptr[Cpu], fd: u8, value: f32) -> None:
    """Write a boxed result to a register; any NaN becomes the canonical one."""
    if likely(value >= value):
        cpu.f[fd] = u64(bitcast(u32, value)) | BOXED
    else:
        cpu.f[fd] = canonical_nan(32) | BOXED
    fp_dirty(cpu)


@native
def put_outcome(cpu: ptr[Cpu], width: u64, fd: u8, result: u128) -> None:
    """Write an outcome of `softfloat` to a register and accrue its flags."""
    accrue(cpu, u64(result >> 64))
    put_bits(cpu, width, fd, u64(result))


@native(may_fault=True, inline=False)
def software_unary(cpu: ptr[Cpu], rm: u8, operation: UnaryOperation, width: u64, fd: u8, fs1: u8) -> None:
    """fd = operation(fs1), computed in integers."""
    mode: u64 = rounding_mode(cpu, rm)
    put_outcome(cpu, width, fd, operation(width, mode, operand(cpu, width, fs1)))


@native(may_fault=True, inline=False)
def software_binary(cpu: ptr[Cpu], rm: u8, operation: BinaryOperation, width: u64, fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = operation(fs1, fs2), computed in integers."""
    mode: u64 = rounding_mode(cpu, rm)
    put_outcome(cpu, width, fd, operation(width, mode, operand(cpu, width, fs1), operand(cpu, width, fs2)))


@native(may_fault=True, inline=False)
def software_fma(cpu: ptr[Cpu], rm: u8, width: u64, minus_product: u64, minus_addend: u64, fd: u8, fs1: u8, fs2: u8, fs3: u8) -> None:
    """fd = ±(fs1 * fs2) ± fs3, computed in integers; `minus_…` is 1 for the lower sign."""
    mode: u64 = rounding_mode(cpu, rm)
    a: u64 = operand(cpu, width, fs1) ^ (sign_bit(width) * minus_product)
    c: u64 = operand(cpu, width, fs3) ^ (sign_bit(width) * minus_addend)
    put_outcome(cpu, width, fd, soft_fma(width, mode, a, operand(cpu, width, fs2), c))


@native(may_fault=True, inline=False)
def software_to_integer(cpu: ptr[Cpu], rm: u8, width: u64, kind: u64, rd: u8, fs1: u8) -> None:
    """rd = fs1 as an integer, computed in integers."""
    mode: u64 = rounding_mode(cpu, rm)
    result: u128 = soft_to_integer(width, mode, kind, operand(cpu, width, fs1))
    accrue(cpu, u64(result >> 64))
    cpu.x[rd] = u64(result)
    fp_dirty(cpu)


@native(may_fault=True, inline=False)
def software_from_integer(cpu: ptr[Cpu], rm: u8, width: u64, kind: u64, fd: u8, rs1: u8) -> None:
    """fd = the integer in rs1, computed in integers."""
    mode: u64 = rounding_mode(cpu, rm)
    put_outcome(cpu, width, fd, soft_from_integer(width, mode, kind, cpu.x[rs1]))


@native(may_fault=True, inline=False)
def software_to_format(cpu: ptr[Cpu], rm: u8, width: u64, to: u64, fd: u8, fs1: u8) -> None:
    """fd = fs1, of format `width`, in format `to`, computed in integers."""
    mode: u64 = rounding_mode(cpu, rm)
    put_outcome(cpu, to, fd, soft_to_format(width, to, mode, operand(cpu, width, fs1)))


@native(may_fault=True, inline=True)
def fused_double(cpu: ptr[Cpu], rm: u8, minus_product: u64, minus_addend: u64, fd: u8, fs1: u8, fs2: u8, fs3: u8) -> None:
    """fd = ±(fs1 * fs2) ± fs3; `minus_…` is 1 for the lower sign (21.4).

    Where that is a NaN the host might not have found infinity times zero invalid.
    """
    if likely(host_rounds(cpu, rm)):
        a: f64 = double(cpu.f[fs1] ^ (minus_product << 63))
        c: f64 = double(cpu.f[fs3] ^ (minus_addend << 63))
        result: f64 = fma(a, double(cpu.f[fs2]), c)
        if likely(result >= result):
            put_bits(cpu, 64, fd, bitcast(u64, result))
            return
    software_fma(cpu, rm, 64, minus_product, minus_addend, fd, fs1, fs2, fs3)


@native(may_fault=True, inline=True)
def fused_single(cpu: ptr[Cpu], rm: u8, minus_product: u64, minus_addend: u64, fd: u8, fs1: u8, fs2: u8, fs3: u8) -> None:
    """fd = ±(fs1 * fs2) ± fs3 as `fused_double` (20.6)."""
    if likely(host_rounds(cpu, rm) and all_boxed(cpu.f[fs1] & cpu.f[fs2] & cpu.f[fs3])):
        a: f32 = single(cpu.f[fs1] ^ (minus_product << 31))
        c: f32 = single(cpu.f[fs3] ^ (minus_addend << 31))
        result: f32 = fma(a, single(cpu.f[fs2]), c)
        if likely(result >= result):
            put_bits(cpu, 32, fd, u64(bitcast(u32, result)))
            return
    software_fma(cpu, rm, 32, minus_product, minus_addend, fd, fs1, fs2, fs3)
