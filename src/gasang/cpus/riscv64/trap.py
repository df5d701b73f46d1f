"""Raising and delivering exceptions and interrupts (privileged specification, chapter 12, "Supervisor-Level ISA")."""

from __future__ import annotations

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.state import SUPERVISOR, USER, Cpu
from gasang.native import native, ptr, u64, unlikely

INSTRUCTION_ACCESS_FAULT = 1
ILLEGAL_INSTRUCTION = 2
BREAKPOINT = 3
LOAD_MISALIGNED = 4
LOAD_ACCESS_FAULT = 5
STORE_MISALIGNED = 6
STORE_ACCESS_FAULT = 7
USER_ECALL = 8
SUPERVISOR_ECALL = 9
INSTRUCTION_PAGE_FAULT = 12
LOAD_PAGE_FAULT = 13
STORE_PAGE_FAULT = 15

INTERRUPT = 1 << 63
SSIP, STIP, SEIP = 1 << 1, 1 << 5, 1 << 9

SSTATUS_SIE = 1 << 1
SSTATUS_SPIE = 1 << 5
SSTATUS_SPP = 1 << 8
SSTATUS_SUM = 1 << 18
SSTATUS_MXR = 1 << 19

CONTEXT_SUPERVISOR = 1 << 4

REPEATS = 1 << 16
"""Exceptions in a row, each like the one before, after which the caller is asked whether the hart can ever go on."""
HARDLY = 16
"""Instructions retired between two exceptions for the second to count as a repetition: no handler does its work in fewer."""


@native(inline=True)
def raise_exception(cpu: ptr[Cpu], cause: u64, tval: u64) -> None:
    """Note an exception; the caller then does `raise Fault`. An illegal instruction's `tval` is made at delivery, from its bits."""
    cpu.cause = cause
    cpu.tval = tval


@native(inline=True)
def set_privilege(cpu: ptr[Cpu], privilege: u64) -> None:
    """Change between U and S mode; the translation context carries the mode."""
    cpu.privilege = privilege
    if privilege == SUPERVISOR:
        cpu.context = cpu.context | CONTEXT_SUPERVISOR
    else:
        cpu.context = cpu.context & 0xFFFFFFFFFFFFFFEF


@native(inline=False)
def deliver(cpu: ptr[Cpu], cause: u64, tval: u64) -> None:
    """Enter the supervisor's trap handler (12.1.1): cpu.pc becomes the handler's address, the old cpu.pc goes to sepc."""
    cpu.sepc = cpu.pc
    cpu.scause = cause
    cpu.stval = tval
    status = cpu.status & ~u64(SSTATUS_SPP | SSTATUS_SPIE | SSTATUS_SIE)
    if cpu.privilege != USER:
        status |= SSTATUS_SPP
    if cpu.status & SSTATUS_SIE != 0:
        status |= SSTATUS_SPIE
    cpu.status = status
    set_privilege(cpu, SUPERVISOR)
    base = cpu.stvec & 0xFFFFFFFFFFFFFFFC
    if cpu.stvec & 3 == 1 and cause & INTERRUPT != 0:
        base += (cause & 63) * 4
    cpu.pc = base
    if unlikely(cpu.watches_traps != 0 and cpu.exit == exits.NONE):
        cpu.exit = exits.TRAP


@native(inline=False)
def deliver_exception(cpu: ptr[Cpu], cause: u64, tval: u64) -> None:
    """Deliver an exception raised at cpu.pc; cpu.budget is up to date.

    Repetitions are counted (an interrupt in between makes two differ), and the run loop is left with exits.LOST after each REPEATS
    of them. Whether the hart can never go on is not decided here.
    """
    retired = u64(cpu.retired) + (cpu.quantum - cpu.budget)
    since = retired - cpu.trap_retired
    cpu.trap_retired = retired
    if unlikely(since < HARDLY and cpu.sepc == cpu.pc and cpu.scause == cause and cpu.stval == tval):
        cpu.trap_repeats = cpu.trap_repeats + 1
    else:
        cpu.trap_repeats = 0
    deliver(cpu, cause, tval)
    if unlikely(cpu.trap_repeats & (REPEATS - 1) == 0 and cpu.trap_repeats != 0):
        cpu.exit = exits.LOST


@native(inline=True)
def deliverable(cpu: ptr[Cpu], pending: u64) -> u64:
    """Of the pending interrupts those that are enabled and may be taken now."""
    enabled = pending & cpu.sie
    if cpu.privilege == SUPERVISOR and cpu.status & SSTATUS_SIE == 0:
        return 0
    return enabled


@native(inline=False)
def deliver_interrupt(cpu: ptr[Cpu], enabled: u64) -> None:
    """Deliver the interrupt of highest priority: external, software, timer (12.1.3)."""
    if enabled & SEIP != 0:
        deliver(cpu, INTERRUPT | 9, 0)
    elif enabled & SSIP != 0:
        deliver(cpu, INTERRUPT | 1, 0)
    elif enabled & STIP != 0:
        deliver(cpu, INTERRUPT | 5, 0)
