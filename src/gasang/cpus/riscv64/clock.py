"""Guest time: 10 MHz, following the host's constant-rate counter from an anchor that the machine sets."""

from __future__ import annotations

from gasang.cpus.riscv64.state import Cpu
from gasang.cpus.riscv64.trap import STIP
from gasang.native import atomic_and, atomic_or, native, ptr, ref, ticks, u64, u128

TIMEBASE = 10_000_000
"""Guest time units a second."""


@native
def guest_time(cpu: ptr[Cpu]) -> u64:
    """The time CSR."""
    elapsed = ticks() - cpu.shared.clock_ticks
    return cpu.shared.clock_time + u64((u128(elapsed) * u128(cpu.shared.clock_scale)) >> 32)


@native
def update_timer(cpu: ptr[Cpu]) -> None:
    """Make sip.STIP what Sstc says: time >= stimecmp."""
    due = guest_time(cpu) >= cpu.stimecmp
    if due:
        if cpu.sip & STIP == 0:
            atomic_or(ref(cpu.sip), STIP)
    elif cpu.sip & STIP != 0:
        atomic_and(ref(cpu.sip), ~u64(STIP))
