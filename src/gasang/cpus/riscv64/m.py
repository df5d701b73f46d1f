"""M: integer multiplication and division (unprivileged specification, chapter 13)."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.state import Cpu
from gasang.native import divide, high_s, high_u, i32, i64, native, ptr, remainder, u8, u32, u64

rv64m = Extension("M", "Integer multiplication and division")


@rv64m.instruction("0000001 rs2 rs1 000 rd 0110011", "rd, rs1, rs2")
@native
def mul(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 64 bits of rs1 × rs2 (13.1)."""
    cpu.x[rd] = cpu.x[rs1] * cpu.x[rs2]


@rv64m.instruction("0000001 rs2 rs1 001 rd 0110011", "rd, rs1, rs2")
@native
def mulh(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the upper 64 bits of rs1 × rs2, both signed (13.1)."""
    cpu.x[rd] = u64(high_s(i64(cpu.x[rs1]), i64(cpu.x[rs2])))


@rv64m.instruction("0000001 rs2 rs1 010 rd 0110011", "rd, rs1, rs2")
@native
def mulhsu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the upper 64 bits of signed rs1 × unsigned rs2 (13.1)."""
    a: u64 = cpu.x[rs1]
    b: u64 = cpu.x[rs2]
    cpu.x[rd] = high_u(a, b) - (b & u64(i64(a) >> 63))


@rv64m.instruction("0000001 rs2 rs1 011 rd 0110011", "rd, rs1, rs2")
@native
def mulhu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the upper 64 bits of rs1 × rs2, both unsigned (13.1)."""
    cpu.x[rd] = high_u(cpu.x[rs1], cpu.x[rs2])


@rv64m.instruction("0000001 rs2 rs1 100 rd 0110011", "rd, rs1, rs2")
@native
def div(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 ÷ rs2 toward zero, both signed; ÷ 0 gives -1, overflow the dividend (13.2)."""
    cpu.x[rd] = u64(divide(i64(cpu.x[rs1]), i64(cpu.x[rs2])))


@rv64m.instruction("0000001 rs2 rs1 101 rd 0110011", "rd, rs1, rs2")
@native
def divu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 ÷ rs2, both unsigned; ÷ 0 gives all ones (13.2)."""
    cpu.x[rd] = divide(cpu.x[rs1], cpu.x[rs2])


@rv64m.instruction("0000001 rs2 rs1 110 rd 0110011", "rd, rs1, rs2")
@native
def rem(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the remainder of signed rs1 ÷ rs2; ÷ 0 leaves the dividend, overflow 0 (13.2)."""
    cpu.x[rd] = u64(remainder(i64(cpu.x[rs1]), i64(cpu.x[rs2])))


@rv64m.instruction("0000001 rs2 rs1 111 rd 0110011", "rd, rs1, rs2")
@native
def remu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the remainder of unsigned rs1 ÷ rs2; ÷ 0 leaves the dividend (13.2)."""
    cpu.x[rd] = remainder(cpu.x[rs1], cpu.x[rs2])


@rv64m.instruction("0000001 rs2 rs1 000 rd 0111011", "rd, rs1, rs2")
@native
def mulw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1 × rs2, sign-extended (13.1)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1] * cpu.x[rs2]))


@rv64m.instruction("0000001 rs2 rs1 100 rd 0111011", "rd, rs1, rs2")
@native
def divw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 ÷ rs2, both signed 32 bits, sign-extended; corners as for div (13.2)."""
    cpu.x[rd] = u64(divide(i32(cpu.x[rs1]), i32(cpu.x[rs2])))


@rv64m.instruction("0000001 rs2 rs1 101 rd 0111011", "rd, rs1, rs2")
@native
def divuw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 ÷ rs2, both unsigned 32 bits, then sign-extended; ÷ 0 gives all ones (13.2)."""
    cpu.x[rd] = u64(i32(divide(u32(cpu.x[rs1]), u32(cpu.x[rs2]))))


@rv64m.instruction("0000001 rs2 rs1 110 rd 0111011", "rd, rs1, rs2")
@native
def remw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the remainder of signed 32-bit rs1 ÷ rs2, sign-extended; corners as for rem (13.2)."""
    cpu.x[rd] = u64(remainder(i32(cpu.x[rs1]), i32(cpu.x[rs2])))


@rv64m.instruction("0000001 rs2 rs1 111 rd 0111011", "rd, rs1, rs2")
@native
def remuw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the remainder of unsigned 32-bit rs1 ÷ rs2, then sign-extended (13.2)."""
    cpu.x[rd] = u64(i32(remainder(u32(cpu.x[rs1]), u32(cpu.x[rs2]))))
