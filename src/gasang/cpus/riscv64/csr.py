"""Control and status registers of S- and U-mode (privileged specification, 12.1; unprivileged, 8 and 20.2; Sstc).

The machine level is played by the host: its registers do not exist, and reach for them is an illegal instruction.
"""

from __future__ import annotations

from gasang.cpus.riscv64.clock import guest_time, update_timer
from gasang.cpus.riscv64.mmu import SATP_BARE, SATP_SV39, SATP_SV57, enter_context, flush_all, leave_sum
from gasang.cpus.riscv64.state import USER, Cpu
from gasang.cpus.riscv64.trap import (
    ILLEGAL_INSTRUCTION,
    SEIP,
    SSIP,
    SSTATUS_MXR,
    SSTATUS_SIE,
    SSTATUS_SPIE,
    SSTATUS_SPP,
    SSTATUS_SUM,
    STIP,
    raise_exception,
)
from gasang.native import Fault, atomic_and, atomic_load, atomic_or, float_flags, native, ptr, ref, set_float_control, u32, u64

FFLAGS, FRM, FCSR = 0x001, 0x002, 0x003
CYCLE, TIME, INSTRET = 0xC00, 0xC01, 0xC02
SSTATUS, SIE, STVEC, SCOUNTEREN, SENVCFG = 0x100, 0x104, 0x105, 0x106, 0x10A
SSCRATCH, SEPC, SCAUSE, STVAL, SIP, STIMECMP, SATP = 0x140, 0x141, 0x142, 0x143, 0x144, 0x14D, 0x180

SSTATUS_WRITABLE = SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_SUM | SSTATUS_MXR
SSTATUS_UXL = 2 << 32
SSTATUS_SD = 1 << 63
SENVCFG_WRITABLE = 0xF1
SENVCFG_CBIE = 3 << 4
SENVCFG_CBIE_RESERVED = 2 << 4
INTERRUPTS = SSIP | STIP | SEIP

NAMES = {
    FFLAGS: "fflags", FRM: "frm", FCSR: "fcsr", CYCLE: "cycle", TIME: "time", INSTRET: "instret",
    SSTATUS: "sstatus", SIE: "sie", STVEC: "stvec", SCOUNTEREN: "scounteren", SENVCFG: "senvcfg", SSCRATCH: "sscratch",
    SEPC: "sepc", SCAUSE: "scause", STVAL: "stval", SIP: "sip", STIMECMP: "stimecmp", SATP: "satp",
}  # fmt: skip


@native(may_fault=True)
def refuse(cpu: ptr[Cpu]) -> None:
    """An illegal instruction."""
    raise_exception(cpu, ILLEGAL_INSTRUCTION, 0)
    raise Fault


@native
def retired_instructions(cpu: ptr[Cpu]) -> u64:
    """minstret: exact at an instruction that has put `budget` into the Cpu."""
    return u64(cpu.retired) + (cpu.quantum - cpu.budget)


@native(may_fault=True)
def read_float(cpu: ptr[Cpu], number: u64) -> u64:
    """fflags, frm, fcsr."""
    if cpu.fs == 0:
        refuse(cpu)
    if number == FRM:
        return cpu.frm
    flags = u64(float_flags()) & 31
    return flags if number == FFLAGS else flags | (cpu.frm << 5)


@native(may_fault=True)
def write_float(cpu: ptr[Cpu], number: u64, value: u64) -> None:
    """fflags, frm, fcsr."""
    if cpu.fs == 0:
        refuse(cpu)
    cpu.fs = 3
    flags = float_flags() & 31
    if number == FFLAGS:
        flags = u32(value) & 31
    elif number == FRM:
        cpu.frm = value & 7
    else:
        flags = u32(value) & 31
        cpu.frm = (value >> 5) & 7
    set_float_control(u32(cpu.frm), flags)


@native(may_fault=True)
def read_counter(cpu: ptr[Cpu], number: u64) -> u64:
    """cycle, time, instret; U-mode needs scounteren's leave."""
    if cpu.privilege == USER and (cpu.scounteren >> (number & 31)) & 1 == 0:
        refuse(cpu)
    if number == TIME:
        return guest_time(cpu)
    return retired_instructions(cpu)


@native
def read_sstatus(cpu: ptr[Cpu]) -> u64:
    """sstatus with FS and SD."""
    value = cpu.status | (cpu.fs << 13) | SSTATUS_UXL
    return value | SSTATUS_SD if cpu.fs == 3 else value


@native(may_fault=True, inline=False)
def read_csr(cpu: ptr[Cpu], number: u64) -> u64:
    """The value of a CSR. Faults if it does not exist or the mode may not read it."""
    if number <= FCSR and number >= FFLAGS:
        return read_float(cpu, number)
    if number >= CYCLE and number <= INSTRET:
        return read_counter(cpu, number)
    if cpu.privilege == USER:
        refuse(cpu)
    if number == SSTATUS:
        return read_sstatus(cpu)
    if number == SIE:
        return cpu.sie
    if number == STVEC:
        return cpu.stvec
    if number == SCOUNTEREN:
        return cpu.scounteren
    if number == SENVCFG:
        return cpu.senvcfg
    if number == SSCRATCH:
        return cpu.sscratch
    if number == SEPC:
        return cpu.sepc
    if number == SCAUSE:
        return cpu.scause
    if number == STVAL:
        return cpu.stval
    if number == SIP:
        update_timer(cpu)
        return atomic_load(ref(cpu.sip))
    if number == STIMECMP:
        return cpu.stimecmp
    if number == SATP:
        return cpu.satp
    raise_exception(cpu, ILLEGAL_INSTRUCTION, 0)
    raise Fault


@native
def write_sstatus(cpu: ptr[Cpu], value: u64) -> None:
    """sstatus: WPRI bits stay as they are."""
    before = cpu.status
    cpu.status = value & SSTATUS_WRITABLE
    cpu.fs = (value >> 13) & 3
    if before & ~value & SSTATUS_SUM != 0:
        leave_sum(cpu)
    if (before ^ value) & SSTATUS_MXR != 0:
        flush_all(cpu)


@native
def write_satp(cpu: ptr[Cpu], value: u64) -> None:
    """satp: an unknown mode leaves it unchanged (12.1.11)."""
    mode = value >> 60
    if mode == SATP_BARE or (mode >= SATP_SV39 and mode <= SATP_SV57):
        cpu.satp = value
        enter_context(cpu)


@native
def write_sip(cpu: ptr[Cpu], value: u64) -> None:
    """sip: only SSIP can be written."""
    if value & SSIP != 0:
        atomic_or(ref(cpu.sip), SSIP)
    else:
        atomic_and(ref(cpu.sip), ~u64(SSIP))


@native
def write_senvcfg(cpu: ptr[Cpu], value: u64) -> None:
    """senvcfg: CBIE's reserved encoding reads as 0 (WARL)."""
    kept = value & SENVCFG_WRITABLE
    if kept & SENVCFG_CBIE == SENVCFG_CBIE_RESERVED:
        kept &= ~u64(SENVCFG_CBIE)
    cpu.senvcfg = kept


@native(may_fault=True, inline=False)
def write_csr(cpu: ptr[Cpu], number: u64, value: u64) -> None:
    """Set a CSR. Faults if it does not exist, is read-only, or the mode may not write it."""
    if number <= FCSR and number >= FFLAGS:
        write_float(cpu, number, value)
        return
    if cpu.privilege == USER or (number >> 10) & 3 == 3:
        refuse(cpu)
    if number == SSTATUS:
        write_sstatus(cpu, value)
    elif number == SIE:
        cpu.sie = value & INTERRUPTS
    elif number == STVEC:
        cpu.stvec = value & 0xFFFFFFFFFFFFFFFD
    elif number == SCOUNTEREN:
        cpu.scounteren = value & 7  # cycle, time and instret are all the counters there are
    elif number == SENVCFG:
        write_senvcfg(cpu, value)
    elif number == SSCRATCH:
        cpu.sscratch = value
    elif number == SEPC:
        cpu.sepc = value & 0xFFFFFFFFFFFFFFFE
    elif number == SCAUSE:
        cpu.scause = value
    elif number == STVAL:
        cpu.stval = value
    elif number == SIP:
        write_sip(cpu, value)
    elif number == STIMECMP:
        cpu.stimecmp = value
        update_timer(cpu)
    elif number == SATP:
        write_satp(cpu, value)
    else:
        refuse(cpu)
