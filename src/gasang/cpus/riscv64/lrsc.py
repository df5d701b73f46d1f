"""Zalrsc, a part of A: load-reserved and store-conditional (unprivileged specification, chapter 13.2)."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.memory import load_reserved_u32, load_reserved_u64, store_conditional_u32, store_conditional_u64
from gasang.cpus.riscv64.state import Cpu
from gasang.native import i32, native, ptr, u8, u32, u64

zalrsc = Extension("Zalrsc", "Load-reserved and store-conditional")


@zalrsc.instruction("00010 aq:1 rl:1 00000 rs1 010 rd 0101111", "rd, (rs1)")
@native(may_fault=True)
def lr_w(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the 32-bit value at rs1, sign-extended; reserve its line (13.2)."""
    cpu.x[rd] = u64(i32(load_reserved_u32(cpu, cpu.x[rs1])))


@zalrsc.instruction("00010 aq:1 rl:1 00000 rs1 011 rd 0101111", "rd, (rs1)")
@native(may_fault=True)
def lr_d(cpu: ptr[Cpu], rd: u8, rs1: u8) -> None:
    """rd = the 64-bit value at rs1; reserve its line (13.2)."""
    cpu.x[rd] = load_reserved_u64(cpu, cpu.x[rs1])


@zalrsc.instruction("00011 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def sc_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """Store the low half of rs2 at rs1 if the reservation holds; rd = 0 if stored, else 1 (13.2)."""
    cpu.x[rd] = store_conditional_u32(cpu, cpu.x[rs1], u32(cpu.x[rs2]))


@zalrsc.instruction("00011 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def sc_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """Store rs2 at rs1 if the reservation holds; rd = 0 if stored, else 1 (13.2)."""
    cpu.x[rd] = store_conditional_u64(cpu, cpu.x[rs1], cpu.x[rs2])
