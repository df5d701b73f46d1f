"""Zbb: basic bit manipulation (unprivileged specification, chapter 28.4.2)."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.state import Cpu
from gasang.native import bswap, i8, i16, i32, i64, maximum, minimum, native, popcount, ptr, rotl, rotr, u8, u16, u32, u64
from gasang.native import clz as clz_
from gasang.native import ctz as ctz_

zbb = Extension("Zbb", "Basic bit manipulation")


@zbb.instruction("0100000 rs2 rs1 111 rd 0110011", "rd, rs1, rs2")
@native
def andn(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 & ~rs2 (28.4.2)."""
    cpu.x[rd] = cpu.x[rs1] & ~cpu.x[rs2]


@zbb.instruction("0100000 rs2 rs1 110 rd 0110011", "rd, rs1, rs2")
@native
def orn(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 | ~rs2 (28.4.2)."""
    cpu.x[rd] = cpu.x[rs1] | ~cpu.x[rs2]


@zbb.instruction("0100000 rs2 rs1 100 rd 0110011", "rd, rs1, rs2")
@native
def xnor(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = ~(rs1 ^ rs2) (28.4.2)."""
    cpu.x[rd] = ~(cpu.x[rs1] ^ cpu.x[rs2])


@zbb.instruction("011000000000 rs1 001 rd 0010011", "rd, rs1")
@native
def clz(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = how many zeroes stand above the highest one bit of rs1, 64 for 0 (28.4.2)."""
    cpu.x[rd] = clz_(cpu.x[rs1])


@zbb.instruction("011000000000 rs1 001 rd 0011011", "rd, rs1")
@native
def clzw(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = how many zeroes stand above the highest one bit of rs1's lower 32 bits, 32 for 0 (28.4.2)."""
    cpu.x[rd] = u64(clz_(u32(cpu.x[rs1])))


@zbb.instruction("011000000001 rs1 001 rd 0010011", "rd, rs1")
@native
def ctz(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = how many zeroes stand below the lowest one bit of rs1, 64 for 0 (28.4.2)."""
    cpu.x[rd] = ctz_(cpu.x[rs1])


@zbb.instruction("011000000001 rs1 001 rd 0011011", "rd, rs1")
@native
def ctzw(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = how many zeroes stand below the lowest one bit of rs1's lower 32 bits, 32 for 0 (28.4.2)."""
    cpu.x[rd] = u64(ctz_(u32(cpu.x[rs1])))


@zbb.instruction("011000000010 rs1 001 rd 0010011", "rd, rs1")
@native
def cpop(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the number of one bits in rs1 (28.4.2)."""
    cpu.x[rd] = popcount(cpu.x[rs1])


@zbb.instruction("011000000010 rs1 001 rd 0011011", "rd, rs1")
@native
def cpopw(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the number of one bits in rs1's lower 32 bits (28.4.2)."""
    cpu.x[rd] = u64(popcount(u32(cpu.x[rs1])))


@zbb.instruction("0000101 rs2 rs1 110 rd 0110011", "rd, rs1, rs2")
@native
def max_(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the greater of rs1 and rs2, both signed (28.4.2)."""
    cpu.x[rd] = u64(maximum(i64(cpu.x[rs1]), i64(cpu.x[rs2])))


@zbb.instruction("0000101 rs2 rs1 111 rd 0110011", "rd, rs1, rs2")
@native
def maxu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the greater of rs1 and rs2, both unsigned (28.4.2)."""
    cpu.x[rd] = maximum(cpu.x[rs1], cpu.x[rs2])


@zbb.instruction("0000101 rs2 rs1 100 rd 0110011", "rd, rs1, rs2")
@native
def min_(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lesser of rs1 and rs2, both signed (28.4.2)."""
    cpu.x[rd] = u64(minimum(i64(cpu.x[rs1]), i64(cpu.x[rs2])))


@zbb.instruction("0000101 rs2 rs1 101 rd 0110011", "rd, rs1, rs2")
@native
def minu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lesser of rs1 and rs2, both unsigned (28.4.2)."""
    cpu.x[rd] = minimum(cpu.x[rs1], cpu.x[rs2])


@zbb.instruction("011000000100 rs1 001 rd 0010011", "rd, rs1")
@native
def sext_b(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the lowest byte of rs1, sign-extended (28.4.2)."""
    cpu.x[rd] = u64(i8(cpu.x[rs1]))


@zbb.instruction("011000000101 rs1 001 rd 0010011", "rd, rs1")
@native
def sext_h(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the lower 16 bits of rs1, sign-extended (28.4.2)."""
    cpu.x[rd] = u64(i16(cpu.x[rs1]))


@zbb.instruction("000010000000 rs1 100 rd 0111011", "rd, rs1")
@native
def zext_h(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the lower 16 bits of rs1, zero-extended (28.4.2)."""
    cpu.x[rd] = u64(u16(cpu.x[rs1]))


@zbb.instruction("0110000 rs2 rs1 001 rd 0110011", "rd, rs1, rs2")
@native
def rol(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 rotated left by the lower 6 bits of rs2 (28.4.2)."""
    cpu.x[rd] = rotl(cpu.x[rs1], cpu.x[rs2])


@zbb.instruction("0110000 rs2 rs1 001 rd 0111011", "rd, rs1, rs2")
@native
def rolw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1's lower 32 bits rotated left by the lower 5 bits of rs2, sign-extended (28.4.2)."""
    cpu.x[rd] = u64(i32(rotl(u32(cpu.x[rs1]), u32(cpu.x[rs2]))))


@zbb.instruction("0110000 rs2 rs1 101 rd 0110011", "rd, rs1, rs2")
@native
def ror(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 rotated right by the lower 6 bits of rs2 (28.4.2)."""
    cpu.x[rd] = rotr(cpu.x[rs1], cpu.x[rs2])


@zbb.instruction("0110000 rs2 rs1 101 rd 0111011", "rd, rs1, rs2")
@native
def rorw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1's lower 32 bits rotated right by the lower 5 bits of rs2, sign-extended (28.4.2)."""
    cpu.x[rd] = u64(i32(rotr(u32(cpu.x[rs1]), u32(cpu.x[rs2]))))


@zbb.instruction("011000 uimm[5:0] rs1 101 rd 0010011", "rd, rs1, shamt")
@native
def rori(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 rotated right by imm (28.4.2)."""
    cpu.x[rd] = rotr(cpu.x[rs1], imm)


@zbb.instruction("0110000 uimm[4:0] rs1 101 rd 0011011", "rd, rs1, shamt")
@native
def roriw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1's lower 32 bits rotated right by imm, sign-extended (28.4.2)."""
    cpu.x[rd] = u64(i32(rotr(u32(cpu.x[rs1]), u32(imm))))


@zbb.instruction("001010000111 rs1 101 rd 0010011", "rd, rs1")
@native
def orc_b(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = rs1 with every byte that is not 0 replaced by 0xFF (28.4.2)."""
    value: u64 = cpu.x[rs1]
    # Adding 0x7F to a byte's lower seven bits carries into its top bit unless they are all zero.
    tops: u64 = ((value & 0x7F7F7F7F7F7F7F7F) + 0x7F7F7F7F7F7F7F7F | value) & 0x8080808080808080
    cpu.x[rd] = (tops << 1) - (tops >> 7)


@zbb.instruction("011010111000 rs1 101 rd 0010011", "rd, rs1")
@native
def rev8(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = rs1 with its bytes in reverse order (28.4.2)."""
    cpu.x[rd] = bswap(cpu.x[rs1])
