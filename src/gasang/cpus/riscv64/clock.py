"""Guest time: 10 MHz, following the host's constant-rate counter along a line through an anchor.

The accelerator steers: it gives the line another slope from time to time. Readers look at `clock_sequence` before and after, and
read anew where it has changed, so that no hart ever sees a mixture, or time going backwards.
"""

from __future__ import annotations

from gasang.cpus.riscv64.state import Cpu, Shared
from gasang.cpus.riscv64.trap import STIP
from gasang.native import atomic_add, atomic_and, atomic_load, atomic_or, atomic_store, i64, likely, native, ptr, ref, ticks, u64, u128

TIMEBASE = 10_000_000
"""Guest time units a second."""


@native(inline=True)
def line_at(shared: ptr[Shared], now: u64) -> u64:
    """Guest time at host tick `now`. Before the anchor (counters of processors differ by some ticks) it is the anchor's."""
    elapsed = now - atomic_load(ref(shared.clock_ticks))
    if i64(elapsed) < 0:
        elapsed = 0
    return atomic_load(ref(shared.clock_time)) + u64((u128(elapsed) * u128(atomic_load(ref(shared.clock_scale)))) >> 32)


@native
def guest_time(cpu: ptr[Cpu]) -> u64:
    """The time CSR."""
    shared = cpu.shared
    sequence = atomic_load(ref(shared.clock_sequence))
    time = line_at(shared, ticks())
    while not likely(sequence & 1 == 0 and atomic_load(ref(shared.clock_sequence)) == sequence):
        sequence = atomic_load(ref(shared.clock_sequence))
        time = line_at(shared, ticks())
    return time


@native
def steer_clock(cpu: ptr[Cpu], scale: u64, step: u64) -> None:
    """From now on time goes by `scale` (units a host tick, times 2**32), after a leap of `step` units. One caller at a time."""
    shared = cpu.shared
    atomic_add(ref(shared.clock_sequence), 1)
    now = ticks()
    time = line_at(shared, now) + step
    atomic_store(ref(shared.clock_ticks), now)
    atomic_store(ref(shared.clock_time), time)
    atomic_store(ref(shared.clock_scale), scale)
    atomic_add(ref(shared.clock_sequence), 1)


@native
def update_timer(cpu: ptr[Cpu]) -> None:
    """Make sip.STIP what Sstc says: time >= stimecmp."""
    due = guest_time(cpu) >= cpu.stimecmp
    if due:
        if cpu.sip & STIP == 0:
            atomic_or(ref(cpu.sip), STIP)
    elif cpu.sip & STIP != 0:
        atomic_and(ref(cpu.sip), ~u64(STIP))
