"""D: double-precision floating point, RV64 (unprivileged specification, chapter 21); as F, with wider numbers."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.fp import (
    double,
    fp_dirty,
    fused_double,
    host_rounds,
    operand,
    put_bits,
    put_double,
    put_single,
    rounding_mode,
    single,
    software_binary,
    software_to_format,
    software_unary,
    unboxed,
)
from gasang.cpus.riscv64.fpcompare import class_of, lesser_or_greater
from gasang.cpus.riscv64.fpconvert import double_from_integer, to_integer
from gasang.cpus.riscv64.memory import load_u64, store_u64
from gasang.cpus.riscv64.softconvert import LU, WU, L, W
from gasang.cpus.riscv64.softfloat import magnitude, sign_bit
from gasang.cpus.riscv64.softmath import soft_add, soft_divide, soft_multiply, soft_sqrt, soft_subtract
from gasang.cpus.riscv64.state import Cpu
from gasang.native import address_of, f32, f64, less_equal_signaling, less_signaling, native, ptr, sqrt, u8, u64, unlikely

SP = 2

rv64d = Extension("D", "Double-precision floating point")


@rv64d.instruction("imm[11:0] rs1 011 fd 0000111", "fd, imm(rs1)")
@native(may_fault=True)
def fld(cpu: ptr[Cpu], fd: u8, rs1: u8, imm: u64) -> None:
    """fd = the 64-bit value at rs1 + imm (21.3)."""
    put_bits(cpu, 64, fd, load_u64(cpu, cpu.x[rs1] + imm))


@rv64d.instruction("imm[11:5] fs2 rs1 011 imm[4:0] 0100111", "fs2, imm(rs1)")
@native(may_fault=True)
def fsd(cpu: ptr[Cpu], rs1: u8, fs2: u8, imm: u64) -> None:
    """Store fs2 at rs1 + imm (21.3)."""
    store_u64(cpu, cpu.x[rs1] + imm, cpu.f[fs2])


@rv64d.instruction("fs3 01 fs2 fs1 rm fd 1000011", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fmadd_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = fs1 * fs2 + fs3, rounded once (21.4)."""
    fused_double(cpu, rm, 0, 0, fd, fs1, fs2, fs3)


@rv64d.instruction("fs3 01 fs2 fs1 rm fd 1000111", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fmsub_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = fs1 * fs2 - fs3, rounded once (21.4)."""
    fused_double(cpu, rm, 0, 1, fd, fs1, fs2, fs3)


@rv64d.instruction("fs3 01 fs2 fs1 rm fd 1001011", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fnmsub_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = -(fs1 * fs2) + fs3, rounded once (21.4)."""
    fused_double(cpu, rm, 1, 0, fd, fs1, fs2, fs3)


@rv64d.instruction("fs3 01 fs2 fs1 rm fd 1001111", "fd, fs1, fs2, fs3, rm")
@native(may_fault=True)
def fnmadd_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, fs3: u8, rm: u8) -> None:
    """fd = -(fs1 * fs2) - fs3, rounded once (21.4)."""
    fused_double(cpu, rm, 1, 1, fd, fs1, fs2, fs3)


@rv64d.instruction("0000001 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fadd_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 + fs2 (21.4)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_binary(cpu, rm, address_of(soft_add), 64, fd, fs1, fs2)
    else:
        put_double(cpu, fd, double(cpu.f[fs1]) + double(cpu.f[fs2]))


@rv64d.instruction("0000101 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fsub_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 - fs2 (21.4)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_binary(cpu, rm, address_of(soft_subtract), 64, fd, fs1, fs2)
    else:
        put_double(cpu, fd, double(cpu.f[fs1]) - double(cpu.f[fs2]))


@rv64d.instruction("0001001 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fmul_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 * fs2 (21.4)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_binary(cpu, rm, address_of(soft_multiply), 64, fd, fs1, fs2)
    else:
        put_double(cpu, fd, double(cpu.f[fs1]) * double(cpu.f[fs2]))


@rv64d.instruction("0001101 fs2 fs1 rm fd 1010011", "fd, fs1, fs2, rm")
@native(may_fault=True)
def fdiv_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8, rm: u8) -> None:
    """fd = fs1 / fs2 (21.4)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_binary(cpu, rm, address_of(soft_divide), 64, fd, fs1, fs2)
    else:
        put_double(cpu, fd, double(cpu.f[fs1]) / double(cpu.f[fs2]))


@rv64d.instruction("0101101 00000 fs1 rm fd 1010011", "fd, fs1, rm")
@native(may_fault=True)
def fsqrt_d(cpu: ptr[Cpu], fd: u8, fs1: u8, rm: u8) -> None:
    """fd = the square root of fs1 (21.4)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_unary(cpu, rm, address_of(soft_sqrt), 64, fd, fs1)
    else:
        put_double(cpu, fd, sqrt(double(cpu.f[fs1])))


@rv64d.instruction("0010001 fs2 fs1 000 fd 1010011", "fd, fs1, fs2")
@native
def fsgnj_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = fs1 with the sign of fs2 (21.5)."""
    put_bits(cpu, 64, fd, magnitude(64, operand(cpu, 64, fs1)) | ((operand(cpu, 64, fs2)) & sign_bit(64)))


@rv64d.instruction("0010001 fs2 fs1 001 fd 1010011", "fd, fs1, fs2")
@native
def fsgnjn_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = fs1 with the opposite of the sign of fs2 (21.5)."""
    put_bits(cpu, 64, fd, magnitude(64, operand(cpu, 64, fs1)) | ((~operand(cpu, 64, fs2)) & sign_bit(64)))


@rv64d.instruction("0010001 fs2 fs1 010 fd 1010011", "fd, fs1, fs2")
@native
def fsgnjx_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = fs1 with the product of both signs (21.5)."""
    put_bits(cpu, 64, fd, magnitude(64, operand(cpu, 64, fs1)) | ((operand(cpu, 64, fs1) ^ operand(cpu, 64, fs2)) & sign_bit(64)))


@rv64d.instruction("0010101 fs2 fs1 000 fd 1010011", "fd, fs1, fs2")
@native
def fmin_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = the lesser of fs1 and fs2; of a number and a NaN, the number (21.4)."""
    lesser_or_greater(cpu, 64, 0, fd, fs1, fs2)


@rv64d.instruction("0010101 fs2 fs1 001 fd 1010011", "fd, fs1, fs2")
@native
def fmax_d(cpu: ptr[Cpu], fd: u8, fs1: u8, fs2: u8) -> None:
    """fd = the greater of fs1 and fs2; of a number and a NaN, the number (21.4)."""
    lesser_or_greater(cpu, 64, 1, fd, fs1, fs2)


@rv64d.instruction("1010001 fs2 fs1 010 rd 1010011", "rd, fs1, fs2")
@native
def feq_d(cpu: ptr[Cpu], rd: u8, fs1: u8, fs2: u8) -> None:
    """rd = 1 if fs1 = fs2, else 0; only a signaling NaN is invalid (21.6)."""
    cpu.x[rd] = u64(double(cpu.f[fs1]) == double(cpu.f[fs2]))
    fp_dirty(cpu)


@rv64d.instruction("1010001 fs2 fs1 001 rd 1010011", "rd, fs1, fs2")
@native
def flt_d(cpu: ptr[Cpu], rd: u8, fs1: u8, fs2: u8) -> None:
    """rd = 1 if fs1 < fs2, else 0; any NaN is invalid (21.6)."""
    cpu.x[rd] = u64(less_signaling(double(cpu.f[fs1]), double(cpu.f[fs2])))
    fp_dirty(cpu)


@rv64d.instruction("1010001 fs2 fs1 000 rd 1010011", "rd, fs1, fs2")
@native
def fle_d(cpu: ptr[Cpu], rd: u8, fs1: u8, fs2: u8) -> None:
    """rd = 1 if fs1 <= fs2, else 0; any NaN is invalid (21.6)."""
    cpu.x[rd] = u64(less_equal_signaling(double(cpu.f[fs1]), double(cpu.f[fs2])))
    fp_dirty(cpu)


@rv64d.instruction("1110001 00000 fs1 001 rd 1010011", "rd, fs1")
@native
def fclass_d(cpu: ptr[Cpu], rd: u8, fs1: u8) -> None:
    """rd = one bit that says what kind of number fs1 is (21.7)."""
    cpu.x[rd] = class_of(64, operand(cpu, 64, fs1))


@rv64d.instruction("1100001 00000 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_w_d(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as a signed 32-bit integer (21.5)."""
    to_integer(cpu, 64, W, rd, fs1, rm)


@rv64d.instruction("1100001 00001 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_wu_d(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as an unsigned 32-bit integer (21.5)."""
    to_integer(cpu, 64, WU, rd, fs1, rm)


@rv64d.instruction("1100001 00010 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_l_d(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as a signed 64-bit integer (21.5)."""
    to_integer(cpu, 64, L, rd, fs1, rm)


@rv64d.instruction("1100001 00011 fs1 rm rd 1010011", "rd, fs1, rm")
@native(may_fault=True)
def fcvt_lu_d(cpu: ptr[Cpu], rd: u8, fs1: u8, rm: u8) -> None:
    """rd = fs1 as an unsigned 64-bit integer (21.5)."""
    to_integer(cpu, 64, LU, rd, fs1, rm)


@rv64d.instruction("1101001 00000 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_d_w(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = a signed 32-bit integer from rs1 (21.5)."""
    double_from_integer(cpu, W, fd, rs1, rm)


@rv64d.instruction("1101001 00001 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_d_wu(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = an unsigned 32-bit integer from rs1 (21.5)."""
    double_from_integer(cpu, WU, fd, rs1, rm)


@rv64d.instruction("1101001 00010 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_d_l(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = a signed 64-bit integer from rs1 (21.5)."""
    double_from_integer(cpu, L, fd, rs1, rm)


@rv64d.instruction("1101001 00011 rs1 rm fd 1010011", "fd, rs1, rm")
@native(may_fault=True)
def fcvt_d_lu(cpu: ptr[Cpu], fd: u8, rs1: u8, rm: u8) -> None:
    """fd = an unsigned 64-bit integer from rs1 (21.5)."""
    double_from_integer(cpu, LU, fd, rs1, rm)


@rv64d.instruction("0100000 00001 fs1 rm fd 1010011", "fd, fs1, rm")
@native(may_fault=True)
def fcvt_s_d(cpu: ptr[Cpu], fd: u8, fs1: u8, rm: u8) -> None:
    """fd = fs1 rounded to binary32 (21.5)."""
    if unlikely(not host_rounds(cpu, rm)):
        software_to_format(cpu, rm, 64, 32, fd, fs1)
    else:
        put_single(cpu, fd, f32(double(cpu.f[fs1])))


@rv64d.instruction("0100001 00000 fs1 rm fd 1010011", "fd, fs1, rm")
@native(may_fault=True)
def fcvt_d_s(cpu: ptr[Cpu], fd: u8, fs1: u8, rm: u8) -> None:
    """fd = the binary32 number fs1 as binary64; exact, but the rounding mode must be a valid one (21.5)."""
    rounding_mode(cpu, rm)
    put_double(cpu, fd, f64(single(unboxed(cpu, fs1))))


@rv64d.instruction("1110001 00000 fs1 000 rd 1010011", "rd, fs1")
@native
def fmv_x_d(cpu: ptr[Cpu], rd: u8, fs1: u8) -> None:
    """rd = the bits of fs1 (21.5)."""
    cpu.x[rd] = cpu.f[fs1]


@rv64d.instruction("1111001 00000 rs1 000 fd 1010011", "fd, rs1")
@native
def fmv_d_x(cpu: ptr[Cpu], fd: u8, rs1: u8) -> None:
    """fd = the bits of rs1 (21.5)."""
    put_bits(cpu, 64, fd, cpu.x[rs1])


# The compressed loads and stores (26.3), Zcd by name.
rv64d.compressed("001 uimm[5:3] rs1' uimm[7:6] fd' 00", "c.fld", fld)
rv64d.compressed("101 uimm[5:3] rs1' uimm[7:6] fs2' 00", "c.fsd", fsd)
rv64d.compressed("001 uimm[5] fd uimm[4:3|8:6] 10", "c.fldsp", fld, rs1=SP)
rv64d.compressed("101 uimm[5:3|8:6] fs2 10", "c.fsdsp", fsd, rs1=SP)
