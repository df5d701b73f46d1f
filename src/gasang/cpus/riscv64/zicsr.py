"""Zicsr: atomic reads and writes of control and status registers (unprivileged specification, chapter 6).

They change translation, privilege or interrupts, so the interpreter looks for interrupts after each (`system=True`).
"""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.csr import read_csr, write_csr
from gasang.cpus.riscv64.state import Cpu
from gasang.native import native, ptr, u8, u64

zicsr = Extension("Zicsr", "Control and status registers", system=True)

NO_REGISTER = 32


@native(may_fault=True)
def modify(cpu: ptr[Cpu], number: u64, rd: u8, bits: u64, clear: u64, changes: u64) -> None:
    """Read, set or clear bits; without bits to change (x0, uimm 0) nothing is written."""
    old = read_csr(cpu, number)
    if changes != 0:
        write_csr(cpu, number, old & ~bits if clear != 0 else old | bits)
    cpu.x[rd] = old


@zicsr.instruction("csr:12 rs1 001 rd 1110011", "rd, csr, rs1")
@native(may_fault=True)
def csrrw(cpu: ptr[Cpu], csr: u64, rd: u8, rs1: u8) -> None:
    """rd = csr; csr = rs1 (6.1). With rd = x0 the CSR is not read."""
    value = cpu.x[rs1]
    if rd == NO_REGISTER:
        write_csr(cpu, csr & 0xFFF, value)
    else:
        old = read_csr(cpu, csr & 0xFFF)
        write_csr(cpu, csr & 0xFFF, value)
        cpu.x[rd] = old


@zicsr.instruction("csr:12 rs1 010 rd 1110011", "rd, csr, rs1")
@native(may_fault=True)
def csrrs(cpu: ptr[Cpu], csr: u64, rd: u8, rs1: u8) -> None:
    """rd = csr; csr |= rs1 (6.1)."""
    modify(cpu, csr & 0xFFF, rd, cpu.x[rs1], 0, u64(rs1))


@zicsr.instruction("csr:12 rs1 011 rd 1110011", "rd, csr, rs1")
@native(may_fault=True)
def csrrc(cpu: ptr[Cpu], csr: u64, rd: u8, rs1: u8) -> None:
    """rd = csr; csr &= ~rs1 (6.1)."""
    modify(cpu, csr & 0xFFF, rd, cpu.x[rs1], 1, u64(rs1))


@zicsr.instruction("csr:12 zimm:5 101 rd 1110011", "rd, csr, zimm")
@native(may_fault=True)
def csrrwi(cpu: ptr[Cpu], csr: u64, rd: u8, zimm: u8) -> None:
    """rd = csr; csr = zimm (6.1). With rd = x0 the CSR is not read."""
    if rd == NO_REGISTER:
        write_csr(cpu, csr & 0xFFF, u64(zimm))
    else:
        old = read_csr(cpu, csr & 0xFFF)
        write_csr(cpu, csr & 0xFFF, u64(zimm))
        cpu.x[rd] = old


@zicsr.instruction("csr:12 zimm:5 110 rd 1110011", "rd, csr, zimm")
@native(may_fault=True)
def csrrsi(cpu: ptr[Cpu], csr: u64, rd: u8, zimm: u8) -> None:
    """rd = csr; csr |= zimm (6.1)."""
    modify(cpu, csr & 0xFFF, rd, u64(zimm), 0, u64(zimm))


@zicsr.instruction("csr:12 zimm:5 111 rd 1110011", "rd, csr, zimm")
@native(may_fault=True)
def csrrci(cpu: ptr[Cpu], csr: u64, rd: u8, zimm: u8) -> None:
    """rd = csr; csr &= ~zimm (6.1)."""
    modify(cpu, csr & 0xFFF, rd, u64(zimm), 1, u64(zimm))
