"""LR/SC reservations, exact across harts (unprivileged specification, 13.2).

LR counts its line in a hashed table of live reservations. A store on a machine with several harts looks at its line's count: zero,
the rule, costs a load and a test. Otherwise it takes the lock, ends every other hart's reservation of the line, and stores.
SC succeeds only while its reservation lives, so a value that changed and changed back (ABA) fails it. A plain store that had looked
before the reservation was made may land after it: it is ordered before the LR, and if it changed the value, the SC's compare-and-swap
fails. So may the stores of a loop's passes that had looked together (region/runs.py), where it loads nothing and each store goes to a
place of its own: nothing orders them among themselves or behind what others did, and no value comes back.
"""

from __future__ import annotations

from gasang.cpus.riscv64.code import lock, unlock
from gasang.cpus.riscv64.state import RESERVATION_SLOTS, Cpu
from gasang.native import atomic_load, atomic_store, cast, compare_exchange, native, ptr, ref, u32, u64

LINE = 6
"""A reservation covers 64 bytes."""


@native(inline=True)
def count_of(cpu: ptr[Cpu], host: u64) -> ptr[u32]:
    """The table's cell for a line."""
    return cpu.shared.reservation_counts + ((host >> LINE) & (RESERVATION_SLOTS - 1))


@native
def drop(cpu: ptr[Cpu]) -> None:
    """End a hart's reservation. The lock is held."""
    if cpu.reservation_live != 0:
        atomic_store(ref(cpu.reservation_live), 0)
        cell = count_of(cpu, cpu.reservation)
        atomic_store(cell, cell[0] - 1)
        atomic_store(ref(cpu.shared.reservations), cpu.shared.reservations - 1)


@native(inline=False)
def give_up(cpu: ptr[Cpu]) -> None:
    """End a hart's reservation, which others' stores would look at for as long as the hart waits. Called by whoever has the hart."""
    if cpu.multi == 0:
        cpu.reservation_live = 0
    elif cpu.reservation_live != 0:
        lock(cpu.shared)
        drop(cpu)
        unlock(cpu.shared)


@native(inline=False)
def reserve(cpu: ptr[Cpu], host: u64) -> None:
    """Begin a reservation, ending the hart's previous one."""
    if cpu.multi == 0:
        cpu.reservation = host
        cpu.reservation_live = 1
        return
    lock(cpu.shared)
    drop(cpu)
    cpu.reservation = host
    cell = count_of(cpu, host)
    atomic_store(cell, cell[0] + 1)
    atomic_store(ref(cpu.shared.reservations), cpu.shared.reservations + 1)
    atomic_store(ref(cpu.reservation_live), 1)
    unlock(cpu.shared)


@native(inline=False)
def end_others(cpu: ptr[Cpu], host: u64) -> None:
    """End other harts' reservations of a line. The lock is held."""
    shared = cpu.shared
    for index in range(shared.hart_count):
        if shared.harts[index] != u64(cpu):
            other = cast(ptr[Cpu], shared.harts[index])
            if other.reservation_live != 0 and (other.reservation >> LINE) == (host >> LINE):
                drop(other)


@native(inline=True)
def contended(cpu: ptr[Cpu], host: u64) -> u64:
    """Whether a store to `host` must go through `begin_store` and `end_store`."""
    if cpu.multi == 0:
        return 0
    return u64(atomic_load(count_of(cpu, host)))


@native(inline=False)
def begin_store(cpu: ptr[Cpu], host: u64) -> None:
    """Take the lock and end the others' reservations; the caller stores, then `end_store`."""
    lock(cpu.shared)
    end_others(cpu, host)


@native
def end_store(cpu: ptr[Cpu]) -> None:
    """Give the lock back."""
    unlock(cpu.shared)


@native(inline=False)
def conditional_u64(cpu: ptr[Cpu], host: u64, value: u64) -> u64:
    """SC.D: 0 if stored, else 1. The hart's reservation ends either way."""
    place = cast(ptr[u64], host)
    failed: u64 = 1
    if cpu.multi == 0:
        if cpu.reservation_live != 0 and cpu.reservation == host:
            place[0] = value
            failed = 0
        cpu.reservation_live = 0
        return failed
    lock(cpu.shared)
    if cpu.reservation_live != 0 and cpu.reservation == host and compare_exchange(place, cpu.reserved_value, value) == cpu.reserved_value:
        failed = 0
        end_others(cpu, host)
    drop(cpu)
    unlock(cpu.shared)
    return failed


@native(inline=False)
def conditional_u32(cpu: ptr[Cpu], host: u64, value: u32) -> u64:
    """SC.W: 0 if stored, else 1. The hart's reservation ends either way."""
    place = cast(ptr[u32], host)
    failed: u64 = 1
    if cpu.multi == 0:
        if cpu.reservation_live != 0 and cpu.reservation == host:
            place[0] = value
            failed = 0
        cpu.reservation_live = 0
        return failed
    lock(cpu.shared)
    expected = u32(cpu.reserved_value)
    if cpu.reservation_live != 0 and cpu.reservation == host and compare_exchange(place, expected, value) == expected:
        failed = 0
        end_others(cpu, host)
    drop(cpu)
    unlock(cpu.shared)
    return failed
