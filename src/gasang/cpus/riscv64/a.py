"""Zaamo, a part of A: atomic read-modify-write instructions (unprivileged specification, chapter 14.4).

All are sequentially consistent, so aq and rl ask for nothing more.
"""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.memory import amo_pointer_u32, amo_pointer_u64
from gasang.cpus.riscv64.state import Cpu
from gasang.native import (
    atomic_add,
    atomic_and,
    atomic_max,
    atomic_min,
    atomic_or,
    atomic_swap,
    atomic_xor,
    cast,
    i32,
    i64,
    native,
    ptr,
    u8,
    u32,
    u64,
)

zaamo = Extension("A", "Atomic memory operations")


@zaamo.instruction("00001 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoswap_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes rs2 (14.4)."""
    cpu.x[rd] = u64(i32(atomic_swap(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("00000 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoadd_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes old + rs2 (14.4)."""
    cpu.x[rd] = u64(i32(atomic_add(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("00100 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoxor_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes old ^ rs2 (14.4)."""
    cpu.x[rd] = u64(i32(atomic_xor(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("01100 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoand_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes old & rs2 (14.4)."""
    cpu.x[rd] = u64(i32(atomic_and(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("01000 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoor_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes old | rs2 (14.4)."""
    cpu.x[rd] = u64(i32(atomic_or(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("10000 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amomin_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes the lesser of old and rs2, both signed (14.4)."""
    cpu.x[rd] = u64(atomic_min(cast(ptr[i32], amo_pointer_u32(cpu, cpu.x[rs1])), i32(cpu.x[rs2])))


@zaamo.instruction("10100 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amomax_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes the greater of old and rs2, both signed (14.4)."""
    cpu.x[rd] = u64(atomic_max(cast(ptr[i32], amo_pointer_u32(cpu, cpu.x[rs1])), i32(cpu.x[rs2])))


@zaamo.instruction("11000 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amominu_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes the lesser of old and rs2, both unsigned (14.4)."""
    cpu.x[rd] = u64(i32(atomic_min(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("11100 aq:1 rl:1 rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amomaxu_w(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 32-bit value, sign-extended, at rs1, which atomically becomes the greater of old and rs2, both unsigned (14.4)."""
    cpu.x[rd] = u64(i32(atomic_max(amo_pointer_u32(cpu, cpu.x[rs1]), u32(cpu.x[rs2]))))


@zaamo.instruction("00001 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoswap_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes rs2 (14.4)."""
    cpu.x[rd] = atomic_swap(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])


@zaamo.instruction("00000 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoadd_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes old + rs2 (14.4)."""
    cpu.x[rd] = atomic_add(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])


@zaamo.instruction("00100 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoxor_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes old ^ rs2 (14.4)."""
    cpu.x[rd] = atomic_xor(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])


@zaamo.instruction("01100 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoand_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes old & rs2 (14.4)."""
    cpu.x[rd] = atomic_and(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])


@zaamo.instruction("01000 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amoor_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes old | rs2 (14.4)."""
    cpu.x[rd] = atomic_or(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])


@zaamo.instruction("10000 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amomin_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes the lesser of old and rs2, both signed (14.4)."""
    cpu.x[rd] = u64(atomic_min(cast(ptr[i64], amo_pointer_u64(cpu, cpu.x[rs1])), i64(cpu.x[rs2])))


@zaamo.instruction("10100 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amomax_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes the greater of old and rs2, both signed (14.4)."""
    cpu.x[rd] = u64(atomic_max(cast(ptr[i64], amo_pointer_u64(cpu, cpu.x[rs1])), i64(cpu.x[rs2])))


@zaamo.instruction("11000 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amominu_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes the lesser of old and rs2, both unsigned (14.4)."""
    cpu.x[rd] = atomic_min(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])


@zaamo.instruction("11100 aq:1 rl:1 rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)")
@native(may_fault=True)
def amomaxu_d(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = old, the 64-bit value at rs1, which atomically becomes the greater of old and rs2, both unsigned (14.4)."""
    cpu.x[rd] = atomic_max(amo_pointer_u64(cpu, cpu.x[rs1]), cpu.x[rs2])
