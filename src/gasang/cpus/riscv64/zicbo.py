"""Zicbom and Zicboz: cache-block management and zeroing (unprivileged specification, chapter 19). A block is 64 bytes."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.memory import SENVCFG_CBCFE, SENVCFG_CBIE, probe_block, zero_block
from gasang.cpus.riscv64.state import Cpu
from gasang.native import native, ptr, u8

zicbo = Extension("Zicbo", "Cache-block management and zeroing")


@zicbo.instruction("000000000000 rs1 010 00000 0001111", "(rs1)")
@native(may_fault=True)
def cbo_inval(cpu: ptr[Cpu], rs1: u8) -> None:
    """Invalidate the cache block that holds rs1 (chapter 19). Host caches are coherent: permissions are all there is to check."""
    probe_block(cpu, cpu.x[rs1], SENVCFG_CBIE)


@zicbo.instruction("000000000001 rs1 010 00000 0001111", "(rs1)")
@native(may_fault=True)
def cbo_clean(cpu: ptr[Cpu], rs1: u8) -> None:
    """Write the cache block that holds rs1 back to memory (chapter 19). Host caches are coherent: as cbo.inval."""
    probe_block(cpu, cpu.x[rs1], SENVCFG_CBCFE)


@zicbo.instruction("000000000010 rs1 010 00000 0001111", "(rs1)")
@native(may_fault=True)
def cbo_flush(cpu: ptr[Cpu], rs1: u8) -> None:
    """Write the cache block that holds rs1 back and invalidate it (chapter 19). Host caches are coherent: as cbo.inval."""
    probe_block(cpu, cpu.x[rs1], SENVCFG_CBCFE)


@zicbo.instruction("000000000100 rs1 010 00000 0001111", "(rs1)")
@native(may_fault=True)
def cbo_zero(cpu: ptr[Cpu], rs1: u8) -> None:
    """Zero the 64-byte cache block that holds rs1 (chapter 19)."""
    zero_block(cpu, cpu.x[rs1])
