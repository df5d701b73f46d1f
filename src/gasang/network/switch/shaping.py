"""When a frame may pass: rates as virtual clocks (token buckets turned around), and rings of frames that wait. No I/O, no clock."""

from __future__ import annotations

from gasang.native import boolean, cast, copy, maximum, native, ptr, ref, sizeof, u8, u64
from gasang.network.switch.state import Bucket, Held, Port


@native
def may_pass(b: ptr[Bucket], now: u64) -> boolean:
    """Whether something may pass now."""
    return b.cost == 0 or b.until <= now + b.burst


@native
def ready_at(b: ptr[Bucket]) -> u64:
    """From when on something may."""
    return b.until - b.burst if b.cost != 0 and b.until > b.burst else 0


@native
def charge(b: ptr[Bucket], size: u64, now: u64) -> None:
    """So many bytes pass."""
    if b.cost != 0:
        b.until = maximum(b.until, now) + (size * b.cost >> 16)


@native
def waits(p: ptr[Port]) -> boolean:
    """Whether frames wait before they leave by this port."""
    return p.leaving.cost != 0 or p.latency != 0


@native
def room(p: ptr[Port], size: u64) -> u64:
    """Where a record of so many bytes in all may begin, or the ring's size where there is no room for it; both ends in mind."""
    at = p.ring_tail % p.ring_size
    need = size if at + size <= p.ring_size else size + p.ring_size - at
    if p.ring_tail - p.ring_head + need > p.ring_size:
        return p.ring_size
    if need != size:
        if p.ring_size - at >= sizeof(Held):
            cast(ptr[Held], p.ring + at).size = 0
        p.ring_tail += p.ring_size - at
        return 0
    return at


@native
def hold(p: ptr[Port], data: ptr[u8], size: u64, now: u64) -> boolean:
    """Keep a frame, its header in front, until it may leave; False where the ring is full."""
    whole = sizeof(Held) + (size + 15 & ~u64(15))
    at = room(p, whole)
    if at == p.ring_size:
        return False
    record = cast(ptr[Held], p.ring + at)
    record.due = maximum(now, ready_at(ref(p.leaving))) + p.latency
    record.size = size
    copy(p.ring + at + sizeof(Held), data, size)
    p.ring_tail += whole
    charge(ref(p.leaving), size, now)
    return True


@native
def first(p: ptr[Port]) -> ptr[Held]:
    """The frame that leaves next; there is one."""
    at = p.ring_head % p.ring_size
    if p.ring_size - at < sizeof(Held) or cast(ptr[Held], p.ring + at).size == 0:
        p.ring_head += p.ring_size - at
        at = 0
    return cast(ptr[Held], p.ring + at)


@native
def drop_first(p: ptr[Port]) -> None:
    """It has left."""
    p.ring_head += sizeof(Held) + (first(p).size + 15 & ~u64(15))
