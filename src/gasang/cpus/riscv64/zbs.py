"""Zbs: single-bit instructions (unprivileged specification, chapter 28.4.4)."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.state import Cpu
from gasang.native import native, ptr, u8, u64

zbs = Extension("Zbs", "Single-bit instructions")


@zbs.instruction("0100100 rs2 rs1 001 rd 0110011", "rd, rs1, rs2")
@native
def bclr(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 with the bit that the lower 6 bits of rs2 numbers cleared (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] & ~(u64(1) << cpu.x[rs2])


@zbs.instruction("010010 uimm[5:0] rs1 001 rd 0010011", "rd, rs1, shamt")
@native
def bclri(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 with the bit that imm numbers cleared (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] & ~(u64(1) << imm)


@zbs.instruction("0100100 rs2 rs1 101 rd 0110011", "rd, rs1, rs2")
@native
def bext(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the bit of rs1 that the lower 6 bits of rs2 numbers (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] >> cpu.x[rs2] & 1


@zbs.instruction("010010 uimm[5:0] rs1 101 rd 0010011", "rd, rs1, shamt")
@native
def bexti(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the bit of rs1 that imm numbers (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] >> imm & 1


@zbs.instruction("0110100 rs2 rs1 001 rd 0110011", "rd, rs1, rs2")
@native
def binv(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 with the bit that the lower 6 bits of rs2 numbers inverted (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] ^ u64(1) << cpu.x[rs2]


@zbs.instruction("011010 uimm[5:0] rs1 001 rd 0010011", "rd, rs1, shamt")
@native
def binvi(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 with the bit that imm numbers inverted (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] ^ u64(1) << imm


@zbs.instruction("0010100 rs2 rs1 001 rd 0110011", "rd, rs1, rs2")
@native
def bset(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 with the bit that the lower 6 bits of rs2 numbers set (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] | u64(1) << cpu.x[rs2]


@zbs.instruction("001010 uimm[5:0] rs1 001 rd 0010011", "rd, rs1, shamt")
@native
def bseti(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 with the bit that imm numbers set (28.4.4)."""
    cpu.x[rd] = cpu.x[rs1] | u64(1) << imm
