"""Environment calls, returns from traps, waiting, and the fences of translations and code.

Unprivileged specification, 2.8 and chapter 6; privileged specification, 3.3 and 12.2.
"""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.clock import update_timer
from gasang.cpus.riscv64.code import fence_instruction
from gasang.cpus.riscv64.csr import refuse
from gasang.cpus.riscv64.harts import answer_call
from gasang.cpus.riscv64.line import hasten_line
from gasang.cpus.riscv64.mmu import flush_all, flush_asid, flush_page
from gasang.cpus.riscv64.reservation import give_up
from gasang.cpus.riscv64.state import SUPERVISOR, USER, Cpu
from gasang.cpus.riscv64.trap import (
    BREAKPOINT,
    SSTATUS_SIE,
    SSTATUS_SPIE,
    SSTATUS_SPP,
    USER_ECALL,
    raise_exception,
    set_privilege,
)
from gasang.cpus.riscv64.waits import waits
from gasang.native import Fault, native, ptr, u8, u64

privileged = Extension("S", "Privileged instructions", system=True)

SBI_TIME = 0x54494D45


@privileged.instruction("000000000000 00000 000 00000 1110011", "")
@native(may_fault=True)
def ecall(cpu: ptr[Cpu]) -> None:
    """Call the environment: from U-mode the supervisor, from S-mode the SBI (2.8). Timers and most calls about harts are served here."""
    if cpu.privilege == USER:
        raise_exception(cpu, USER_ECALL, 0)
        raise Fault
    if cpu.x[17] == SBI_TIME and cpu.x[16] == 0:
        cpu.stimecmp = cpu.x[10]
        update_timer(cpu)
        cpu.x[10] = 0
        cpu.x[11] = 0
        return
    if answer_call(cpu):
        return
    cpu.exit = exits.SBI
    raise Fault


@privileged.instruction("000000000001 00000 000 00000 1110011", "")
@native(may_fault=True)
def ebreak(cpu: ptr[Cpu], pc: u64) -> None:
    """Breakpoint (2.8)."""
    raise_exception(cpu, BREAKPOINT, pc)
    raise Fault


@privileged.instruction("000100000010 00000 000 00000 1110011", "")
@native(may_fault=True)
def sret(cpu: ptr[Cpu]) -> None:
    """Return from a supervisor's trap handler (3.3.2)."""
    if cpu.privilege != SUPERVISOR:
        refuse(cpu)
    status = cpu.status
    following = status & ~u64(SSTATUS_SPP | SSTATUS_SIE)
    if status & SSTATUS_SPIE != 0:
        following |= SSTATUS_SIE
    cpu.status = following | SSTATUS_SPIE
    set_privilege(cpu, SUPERVISOR if status & SSTATUS_SPP != 0 else u64(USER))
    cpu.pc = cpu.sepc


@privileged.instruction("000100000101 00000 000 00000 1110011", "")
@native(may_fault=True)
def wfi(cpu: ptr[Cpu]) -> None:
    """Wait for an interrupt that is enabled in sie (3.3.3)."""
    if cpu.privilege != SUPERVISOR:
        refuse(cpu)
    if cpu.multi != 0:
        give_up(cpu)
    hasten_line(cpu)
    if waits(cpu):
        cpu.exit = exits.WAIT


@privileged.instruction("0001001 rs2 rs1 000 00000 1110011", "rs1, rs2", name="sfence.vma")
@native(may_fault=True)
def sfence_vma(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> None:
    """Order earlier changes of page tables before later translations: of a page, an address space, or all (12.2.1)."""
    if cpu.privilege != SUPERVISOR:
        refuse(cpu)
    if rs1 != 0:
        flush_page(cpu, cpu.x[rs1])
    elif rs2 != 0:
        flush_asid(cpu, cpu.x[rs2] & 0xFFFF)
    else:
        flush_all(cpu)


@privileged.instruction("imm[11:0] rs1 001 rd 0001111", "", name="fence.i")
@native
def fence_i(cpu: ptr[Cpu]) -> None:
    """Make earlier stores to code seen by later fetches of this hart (unprivileged, chapter 5)."""
    fence_instruction(cpu)
