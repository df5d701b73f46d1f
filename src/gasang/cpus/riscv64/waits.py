"""What a hart does while it waits for an interrupt: look, doze, or leave the run loop.

After a wait that was short the next begins awake: to sleep and be woken may take longer than the wait. Then the hart dozes, in native code:
whoever has something for it wakes it without Python, another hart from its run loop, and it goes on without leaving its own. Only
a wait that lasts is its thread's, which gives memory back meanwhile.

A hart that dozes does not execute: what it is asked it does before its next instruction, as one whose thread is elsewhere.

    EXECUTING ──wfi──► DOZING ──time is up──► EXECUTING, or OUTSIDE
                         │ rouse                  ▲
                         ▼                        │
                       ROUSED ──its thread runs───┘
"""

from __future__ import annotations

from gasang.cpus.riscv64.clock import TIMEBASE, guest_time, update_timer
from gasang.cpus.riscv64.state import Cpu
from gasang.native import atomic_load, atomic_store, boolean, compare_exchange, native, ptr, ref, syscall, u64

OUTSIDE, EXECUTING, DOZING, ROUSED = 0, 1, 2, 3
"""Cpu.inside."""
DOZE = TIMEBASE // 10
"""Guest time (0.1 s): a longer wait is the thread's."""
NANOSECONDS = 1_000_000_000 // TIMEBASE
SECOND = 1_000_000_000
SHORT_WAIT = TIMEBASE // 5000
"""Guest time (0.2 ms): after a wait that was shorter the next is begun awake, while the host has a processor for each hart."""
FUTEX_WAIT, FUTEX_WAKE = 128, 129
"""Operations of futex(2) (linux/futex.h), of one process (FUTEX_PRIVATE_FLAG)."""


@native
def pending(cpu: ptr[Cpu]) -> u64:
    """Whether something could end a wait: an enabled interrupt or a request. Called by the hart's own thread."""
    update_timer(cpu)
    return (atomic_load(ref(cpu.sip)) & cpu.sie) | atomic_load(ref(cpu.requests))


@native
def rouse(cpu: ptr[Cpu]) -> None:
    """Wake a hart that dozes: something was posted, or is asked. From any thread."""
    if atomic_load(ref(cpu.inside)) == u64(DOZING) and compare_exchange(ref(cpu.inside), DOZING, ROUSED) == u64(DOZING):
        syscall(cpu.futex, u64(ref(cpu.inside)), FUTEX_WAKE, 1, 0, 0, 0)


@native(inline=False)
def comes_soon(cpu: ptr[Cpu]) -> boolean:
    """Whether what ends a wait comes within the hart's patience."""
    if cpu.patience == 0:
        return False
    end = guest_time(cpu) + cpu.patience
    while guest_time(cpu) < end:
        if pending(cpu) != 0:
            return True
    return False


@native(inline=False)
def doze(cpu: ptr[Cpu]) -> boolean:
    """Sleep until something is posted or asked, or the timer is due; false where the wait is the thread's: it lasts, or is watched."""
    if cpu.futex == 0 or cpu.check != 0 or cpu.watches_traps != 0:
        return False
    began = guest_time(cpu)
    left: u64 = DOZE
    if cpu.stimecmp - began < left:  # one that is past is no reason to wake: its interrupt is not enabled, or the hart would not wait
        left = cpu.stimecmp - began
    cpu.nap[0] = 0
    cpu.nap[1] = left * NANOSECONDS
    atomic_store(ref(cpu.inside), DOZING)
    if pending(cpu) == 0:  # what is posted from now on finds the hart dozing
        syscall(cpu.futex, u64(ref(cpu.inside)), FUTEX_WAIT, DOZING, u64(ref(cpu.nap[0])), 0, 0)
    atomic_store(ref(cpu.inside), EXECUTING)
    took = guest_time(cpu) - began
    cpu.patience = cpu.eager if took < u64(SHORT_WAIT) else u64(0)
    return pending(cpu) != 0 or took < u64(DOZE)


@native
def waits(cpu: ptr[Cpu]) -> boolean:
    """wfi: whether the hart's thread is to see to the wait. Returns false as soon as something could end it, and now and then before."""
    return pending(cpu) == 0 and not comes_soon(cpu) and not doze(cpu)
