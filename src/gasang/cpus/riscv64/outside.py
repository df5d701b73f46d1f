"""What other threads may do to a hart: set and clear pending interrupts, ask for something, read its clock."""

from __future__ import annotations

from gasang.cpus.riscv64 import code
from gasang.cpus.riscv64.clock import guest_time
from gasang.cpus.riscv64.csr import retired_instructions
from gasang.cpus.riscv64.state import Cpu
from gasang.cpus.riscv64.waits import rouse
from gasang.native import atomic_and, atomic_or, native, ptr, ref, ticks, u64


@native
def post(cpu: ptr[Cpu], bits: u64) -> None:
    """Set bits of sip."""
    atomic_or(ref(cpu.sip), bits)
    rouse(cpu)


@native
def retract(cpu: ptr[Cpu], bits: u64) -> None:
    """Clear bits of sip."""
    atomic_and(ref(cpu.sip), ~bits)


@native
def ask(cpu: ptr[Cpu], request: u64) -> None:
    """Set bits of requests, served at the hart's next poll."""
    atomic_or(ref(cpu.requests), request)
    rouse(cpu)


@native
def time_of(cpu: ptr[Cpu]) -> u64:
    """Guest time."""
    return guest_time(cpu)


@native
def instructions(cpu: ptr[Cpu]) -> u64:
    """Instructions retired: exact while the hart is outside its run loop."""
    return retired_instructions(cpu)


@native
def host_wrote(cpu: ptr[Cpu], first: u64, last: u64) -> None:
    """RAM pages `first` to `last` were changed from outside."""
    page = first
    while page <= last:
        code.page_changed(cpu, page)
        page += 1


@native
def host_ticks() -> u64:
    """The host's counter that guest time follows."""
    return ticks()
