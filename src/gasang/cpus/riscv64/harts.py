"""What harts ask of each other by firmware calls (SBI 2.0, chapters 7 and 8), answered in the run loop while the others execute.

An interprocessor interrupt is one atomic operation, and a remote fence a request that the other serves within a poll, some microseconds. To
leave the run loop for either, and sleep until the other has answered, takes up to a time slice of the host's where others want its
processors: a guest that has its page table locked meanwhile keeps the other hart from its work as long.

Whatever takes more than that (a hart whose thread is outside the run loop has to be woken, one does not answer in time, arguments that
name no hart) is the machine's firmware's, as every other call. It then does all of it, once more where it was done in part: an interrupt
posted twice before it is taken is one, and a fence may come twice.
"""

from __future__ import annotations

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.code import drop_if_asked, fence_instruction
from gasang.cpus.riscv64.mmu import flush_all
from gasang.cpus.riscv64.state import Cpu
from gasang.cpus.riscv64.trap import SSIP
from gasang.cpus.riscv64.waits import EXECUTING, OUTSIDE, rouse
from gasang.native import atomic_and, atomic_load, atomic_or, atomic_store, boolean, cast, native, ptr, ref, u64

IPI, RFENCE = 0x735049, 0x52464E43
SEND_IPI, FENCE_I, SFENCE_ASID = 0, 0, 2
"""Functions: of RFENCE those up to the last are for harts without a hypervisor."""
ALL_HARTS = 0xFFFFFFFFFFFFFFFF
PATIENCE = 20_000
"""Looks at a hart that is to serve a request, before the call is the firmware's."""


@native
def serve(cpu: ptr[Cpu], asked: u64) -> None:
    """Take requests back and do what of them concerns translations and code. Others see in `serving` when that is done."""
    atomic_store(ref(cpu.serving), 1)
    atomic_and(ref(cpu.requests), ~asked)
    if asked & exits.REQUEST_FLUSH_TLB != 0:
        flush_all(cpu)
    if asked & exits.REQUEST_FENCE_I != 0:
        fence_instruction(cpu)
    atomic_store(ref(cpu.serving), 0)


@native
def named(cpu: ptr[Cpu], index: u64) -> u64:
    """Whether the call's hart mask (3.1: mask in a0, its base in a1) has a hart: 0 or 1."""
    if cpu.x[11] == u64(ALL_HARTS):
        return 1
    return (cpu.x[10] >> (index - cpu.x[11])) & 1 if index - cpu.x[11] < 64 else u64(0)


@native
def names_harts(cpu: ptr[Cpu]) -> boolean:
    """Whether all harts of the call's mask exist."""
    base = cpu.x[11]
    count = cpu.shared.hart_count
    if base == u64(ALL_HARTS):
        return True
    return base < count and (count - base == 64 or cpu.x[10] >> (count - base) == 0)


@native
def executes(other: ptr[Cpu]) -> boolean:
    """Whether a hart comes to its next poll by itself."""
    return atomic_load(ref(other.inside)) == u64(EXECUTING)


@native
def has_served(other: ptr[Cpu], request: u64) -> boolean:
    """Whether a hart has done what it was asked, or will before its next instruction.

    A hart that does not execute begins with its requests, but for one that a device keeps in the middle of an instruction.
    """
    if atomic_load(ref(other.requests)) & request == 0 and atomic_load(ref(other.serving)) == 0:
        return True
    return not executes(other) and atomic_load(ref(other.mmio_state)) == exits.MMIO_IDLE


@native
def outsiders(cpu: ptr[Cpu]) -> u64:
    """How many of the harts named are outside their run loops."""
    count: u64 = 0
    shared = cpu.shared
    for index in range(shared.hart_count):
        if named(cpu, index) != 0 and atomic_load(ref(cast(ptr[Cpu], shared.harts[index]).inside)) == u64(OUTSIDE):
            count += 1
    return count


@native(inline=False)
def interrupt_others(cpu: ptr[Cpu]) -> boolean:
    """Set SSIP of the harts named, if none of them is outside its run loop.

    Where one has left it meanwhile it may have looked too early, and the firmware has it woken. It does not set SSIP once more: the hart
    may have taken the interrupt by then, and would take another that nobody has sent.
    """
    if outsiders(cpu) != 0:
        return False
    shared = cpu.shared
    for index in range(shared.hart_count):
        if named(cpu, index) != 0:
            other = cast(ptr[Cpu], shared.harts[index])
            atomic_or(ref(other.sip), SSIP)
            rouse(other)
    if outsiders(cpu) == 0:
        return True
    cpu.has_interrupted = 1
    return False


@native(inline=False)
def fence_others(cpu: ptr[Cpu], request: u64) -> boolean:
    """Have the harts named serve a request, and this one do so; false if one has not answered in time."""
    shared = cpu.shared
    for index in range(shared.hart_count):
        if named(cpu, index) != 0 and shared.harts[index] != u64(cpu):
            atomic_or(ref(cast(ptr[Cpu], shared.harts[index]).requests), request)
    for index in range(shared.hart_count):
        if named(cpu, index) != 0:
            other = cast(ptr[Cpu], shared.harts[index])
            if u64(other) == u64(cpu):
                serve(cpu, request)
            else:
                tries: u64 = 0
                while not has_served(other, request):
                    if tries == PATIENCE:
                        return False
                    tries += 1
                    serve_meanwhile(cpu)
    return True


@native
def serve_meanwhile(cpu: ptr[Cpu]) -> None:
    """What others ask of a hart that waits for them, who may be those it waits for."""
    asked = atomic_load(ref(cpu.requests))
    if asked != 0:
        drop_if_asked(cpu)
        asked &= exits.REQUEST_FLUSH_TLB | exits.REQUEST_FENCE_I
        if asked != 0:
            serve(cpu, asked)


@native(inline=False)
def answer_call(cpu: ptr[Cpu]) -> boolean:
    """Answer the environment call in a0 to a7 if it is one of these; false if it is the firmware's.

    A hart that is watched, or whose regions are checked, asks the firmware: each call of it is an exit.
    """
    if cpu.multi == 0 or cpu.check != 0 or cpu.watches_traps != 0 or not names_harts(cpu):
        return False
    done = False
    if cpu.x[17] == u64(IPI) and cpu.x[16] == u64(SEND_IPI):
        done = interrupt_others(cpu)
    elif cpu.x[17] == u64(RFENCE) and cpu.x[16] <= u64(SFENCE_ASID):
        done = fence_others(cpu, exits.REQUEST_FENCE_I if cpu.x[16] == u64(FENCE_I) else u64(exits.REQUEST_FLUSH_TLB))
    if done:
        cpu.x[10] = 0
        cpu.x[11] = 0
    return done
