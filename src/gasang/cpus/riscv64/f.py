"""F: single-precision floating point, RV64 (unprivileged specification, chapter 20).

Results are exact, flags included, in every rounding mode; `fp` tells how.
"""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.fp import (
    all_boxed,
    fp_dirty,
    fused_single,
    host_rounds,
    operand,
    put_bits,
    put_single,
    single,
    software_binary,
    software_unary,
    unboxed,
)
from gasang.cpus.riscv64.fpcompare import class_of, lesser_or_greater
from gasang.cpus.riscv64.fpconvert import single_from_integer, to_integer
from gasang.cpus.riscv64.memory import load_u32, store_u32
from gasang.cpus.riscv64.softconvert import LU, WU, L, W
from gasang.cpus.riscv64.softfloat import magnitude, sign_bit
from gasang.cpus.riscv64.softmath import soft_add, soft_divide, soft_multiply, soft_sqrt, soft_subtract
from gasang.cpus.riscv64.state import Cpu
from gasang.native import address_of, i32, less_equal_signaling, less_signaling, native, ptr, sqrt, u8, u32, u64, unlikely

rv64f = Extension("F", "Single-precision floating point")


@rv64f.instruction("imm[11:0] rs1 010 fd 0000111", "fd, imm(rs1)")
@native(may_fault=True)
def flw(cpu: ptr[Cpu], fd: u8, rs1: u8, imm: u64) -> None:
    """fd = the 32-bit value at rs1 + imm (20.5)."""
    put_bits(cpu, 32, fd, u64(load_u32(cpu, cpu.x[rs1] + imm)))


@rv64f.instruction("imm[11:5] fs2 rs1 010 imm[4:0] 0100111", "fs2, imm(rs1)")
@native(may_fault=True)
def fsw(cpu: ptr[Cpu], rs1: u8, fs2: u8, imm: u64) -> None:
    """Store the lower 32 bits of fs2, boxed or not, at rs1 + imm (20.5)."""
    store_u32(cpu, cpu.x[rs1] + imm, u32(cpu.f[fs2]))


@rv64f.instruction("fs3 00 fs2 fs1 rm fd 1000011", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fmadd_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = fs1 * fs2 + fs3, rounded once (20.6)."""
    fused_single(cpu, rm, 0, 0, fd, fs1, fs2, fs3)


@rv64f.instruction("fs3 00 fs2 fs1 rm fd 1000111", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fmsub_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = fs1 * fs2 - fs3, rounded once (20.6)."""
    fused_single(cpu, rm, 0, 1, fd, fs1, fs2, fs3)


@rv64f.instruction("fs3 00 fs2 fs1 rm fd 1001011", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fnmsub_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = -(fs1 * fs2) + fs3, rounded once (20.6)."""
    fused_single(cpu, rm, 1, 0, fd, fs1, fs2, fs3)


@rv64f.instruction("fs3 00 fs2 fs1 rm fd 1001111", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fnmadd_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = -(fs1 * fs2) - fs3, rounded once (20.6)."""
    fused_single(cpu, rm, 1, 1, fd, fs1, fs2, fs3)


@rv64f.instruction("0000000 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fadd_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 + fs2 (20.6)."""
    if unlikely(not (host_rounds(cpu, rm) and all_boxed(cpu.f[fs1] & cpu.f[fs2]))):
        software_binary(cpu, rm, address_of(soft_add), 32, fd, fs1, fs2)
    else:
        put_single(cpu, fd, single(cpu.f[fs1]) + single(cpu.f[fs2]))


@rv64f.instruction("0000100 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fsub_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 - fs2 (20.6)."""
    if unlikely(not (host_rounds(cpu, rm) and all_boxed(cpu.f[fs1] & cpu.f[fs2]))):
        software_binary(cpu, rm, address_of(soft_subtract), 32, fd, fs1, fs2)
    else:
        put_single(cpu, fd, single(cpu.f[fs1]) - single(cpu.f[fs2]))


@rv64f.instruction("0001000 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fmul_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 * fs2 (20.6)."""
    if unlikely(not (host_rounds(cpu, rm) and all_boxed(cpu.f[fs1] & cpu.f[fs2]))):
        software_binary(cpu, rm, address_of(soft_multiply), 32, fd, fs1, fs2)
    else:
        put_single(cpu, fd, single(cpu.f[fs1]) * single(cpu.f[fs2]))


@rv64f.instruction("0001100 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fdiv_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 / fs2 (20.6)."""
    if unlikely(not (host_rounds(cpu, rm) and all_boxed(cpu.f[fs1] & cpu.f[fs2]))):
        software_binary(cpu, rm, address_of(soft_divide), 32, fd, fs1, fs2)
    else:
        put_single(cpu, fd, single(cpu.f[fs1]) / single(cpu.f[fs2]))


@rv64f.instruction("0101100 00000 fs1 rm fd 1010011", "fd, fs1, rm")
@native(may_fault=True)
def fsqrt_s(cpu: ptr[Cpu], fd: u8, fs1: u8, rm: u8) -> None:
    """fd = the square root of fs1 (20.6)."""
    if unlikely(not (host_rounds(cpu, rm) and all_boxed(cpu.f[fs1]))):
        software_unary(cpu, rm, address_of(soft_sqrt), 32, fd, fs1)
    else:
        put_single(cpu, fd, sqrt(single(cpu.f[fs1])))


@rv64f.instruction("0010000 fs2 fs1 000 fd 1010011", "fd, fs1, fs2")
@native
def fsgnj_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = fs1 with the sign of fs2 (20.7)."""
    put_bits(cpu, 32, fd, magnitude(32, operand(cpu, 32, fs1)) | ((operand(cpu, 32, fs2)) & sign_bit(32)))


@rv64f.instruction("0010000 fs2 fs1 001 fd 1010011", "fd, fs1, fs2")
@native
def fsgnjn_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = fs1 with the opposite of the sign of fs2 (20.7)."""
    put_bits(cpu, 32, fd, magnitude(32, operand(cpu, 32, fs1)) | ((~operand(cpu, 32, fs2)) & sign_bit(32)))


@rv64f.instruction("0010000 fs2 fs1 010 fd 1010011", "fd, fs1, fs2")
@native
def fsgnjx_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = fs1 with the product of both signs (20.7)."""
    put_bits(cpu, 32, fd, magnitude(32, operand(cpu, 32, fs1)) | ((operand(cpu, 32, fs1) ^ operand(cpu, 32, fs2)) & sign_bit(32)))


@rv64f.instruction("0010100 fs2 fs1 000 fd 1010011", "fd, fs1, fs2")
@native
def fmin_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = the lesser of fs1 and fs2; of a number and a NaN, the number (20.6)."""
    lesser_or_greater(cpu, 32, 0, fd, fs1, fs2)


@rv64f.instruction("0010100 fs2 fs1 001 fd 1010011", "fd, fs1, fs2")
@native
def fmax_s(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = the greater of fs1 and fs2; of a number and a NaN, the number (20.6)."""
    lesser_or_greater(cpu, 32, 1, fd, fs1, fs2)


@rv64f.instruction("1010000 fs2 fs1 010 rd 1010011", "rd, fs1, fs2")
@native
def feq_s(cpu: ptr[Cpu], rd: u8, fs1: u8, fs2: u8) -> None:
    """rd = 1 if fs1 = fs2, else 0; only a signaling NaN is invalid (20.8)."""
    cpu.x[rd] = u64(single(unboxed(cpu, fs1)) == single(unboxed(cpu, fs2)))
    fp_dirty(cpu)


@rv64f.instruction("1010000 fs2 fs1 001 rd 1010011", "rd, fs1, fs2")
@native
def flt_s(cpu: ptr[Cpu], rd: u8, fs1: u8, fs2: u8) -> None:
    """rd = 1 if fs1 < fs2, else 0; any NaN is invalid (20.8)."""
    cpu.x[rd] = u64(less_signaling(single(unboxed(cpu, fs1)), single(unboxed(cpu, fs2))))
    fp_dirty(cpu)


@rv64f.instruction("1010000 fs2 fs1 000 rd 1010011", "rd, fs1, fs2")
@native
def fle_s(cpu: ptr[Cpu], rd: u8, fs1: u8, fs2: u8) -> None:
    """rd = 1 if fs1 <= fs2, else 0; any NaN is invalid (20.8)."""
    cpu.x[rd] = u64(less_equal_signaling(single(unboxed(cpu, fs1)), single(unboxed(cpu, fs2))))
    fp_dirty(cpu)


@rv64f.instruction("1110000 00000 fs1 001 rd 1010011", "rd, fs1")
@native
def fclass_s(cpu: ptr[Cpu], rd: u8, fs1: u8) -> None:
    """rd = one bit that says what kind of number fs1 is (20.9)."""
    cpu.x[rd] = class_of(32, operand(cpu, 32, fs1))


@rv64f.instruction("1100000 00000 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_w_s(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as a signed 32-bit integer (20.7)."""
    to_integer(cpu, 32, W, rd, fs1, rm)


@rv64f.instruction("1100000 00001 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_wu_s(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as an unsigned 32-bit integer (20.7)."""
    to_integer(cpu, 32, WU, rd, fs1, rm)


@rv64f.instruction("1100000 00010 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_l_s(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as a signed 64-bit integer (20.7)."""
    to_integer(cpu, 32, L, rd, fs1, rm)


@rv64f.instruction("1100000 00011 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_lu_s(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as an unsigned 64-bit integer (20.7)."""
    to_integer(cpu, 32, LU, rd, fs1, rm)


@rv64f.instruction("1101000 00000 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_s_w(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = a signed 32-bit integer from rs1 (20.7)."""
    single_from_integer(cpu, W, fd, rs1, rm)


@rv64f.instruction("1101000 00001 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_s_wu(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = an unsigned 32-bit integer from rs1 (20.7)."""
    single_from_integer(cpu, WU, fd, rs1, rm)


@rv64f.instruction("1101000 00010 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_s_l(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = a signed 64-bit integer from rs1 (20.7)."""
    single_from_integer(cpu, L, fd, rs1, rm)


@rv64f.instruction("1101000 00011 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_s_lu(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = an unsigned 64-bit integer from rs1 (20.7)."""
    single_from_integer(cpu, LU, fd, rs1, rm)


@rv64f.instruction("1110000 00000 fs1 000 rd 1010011", "rd, fs1")
@native
def fmv_x_w(cpu: ptr[Cpu], rd: u8, fs1: u8) -> None:
    """rd = the lower 32 bits of fs1, boxed or not, sign-extended (20.7)."""
    cpu.x[rd] = u64(i32(cpu.f[fs1]))


@rv64f.instruction("1111000 00000 rs1 000 fd 1010011", "fd, rs1")
@native
def fmv_w_x(cpu: ptr[Cpu], fd: u8, rs1: u8) -> None:
    """fd = the lower 32 bits of rs1 (20.7)."""
    put_bits(cpu, 32, fd, u64(u32(cpu.x[rs1])))
