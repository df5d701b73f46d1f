"""Zba: address generation (unprivileged specification, chapter 28.4.1)."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.state import Cpu
from gasang.native import native, ptr, u8, u32, u64

zba = Extension("Zba", "Address generation")


@zba.instruction("0000100 rs2 rs1 000 rd 0111011", "rd, rs1, rs2")
@native
def add_uw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1, zero-extended, + rs2 (28.4)."""
    cpu.x[rd] = u64(u32(cpu.x[rs1])) + cpu.x[rs2]


@zba.instruction("0010000 rs2 rs1 010 rd 0110011", "rd, rs1, rs2")
@native
def sh1add(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = (rs1 << 1) + rs2 (28.4)."""
    cpu.x[rd] = (cpu.x[rs1] << 1) + cpu.x[rs2]


@zba.instruction("0010000 rs2 rs1 010 rd 0111011", "rd, rs1, rs2")
@native
def sh1add_uw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = (the lower 32 bits of rs1, zero-extended, << 1) + rs2 (28.4)."""
    cpu.x[rd] = (u64(u32(cpu.x[rs1])) << 1) + cpu.x[rs2]


@zba.instruction("0010000 rs2 rs1 100 rd 0110011", "rd, rs1, rs2")
@native
def sh2add(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = (rs1 << 2) + rs2 (28.4)."""
    cpu.x[rd] = (cpu.x[rs1] << 2) + cpu.x[rs2]


@zba.instruction("0010000 rs2 rs1 100 rd 0111011", "rd, rs1, rs2")
@native
def sh2add_uw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = (the lower 32 bits of rs1, zero-extended, << 2) + rs2 (28.4)."""
    cpu.x[rd] = (u64(u32(cpu.x[rs1])) << 2) + cpu.x[rs2]


@zba.instruction("0010000 rs2 rs1 110 rd 0110011", "rd, rs1, rs2")
@native
def sh3add(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = (rs1 << 3) + rs2 (28.4)."""
    cpu.x[rd] = (cpu.x[rs1] << 3) + cpu.x[rs2]


@zba.instruction("0010000 rs2 rs1 110 rd 0111011", "rd, rs1, rs2")
@native
def sh3add_uw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = (the lower 32 bits of rs1, zero-extended, << 3) + rs2 (28.4)."""
    cpu.x[rd] = (u64(u32(cpu.x[rs1])) << 3) + cpu.x[rs2]


@zba.instruction("000010 uimm[5:0] rs1 001 rd 0011011", "rd, rs1, shamt")
@native
def slli_uw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the lower 32 bits of rs1, zero-extended, << imm (28.4)."""
    cpu.x[rd] = u64(u32(cpu.x[rs1])) << imm
