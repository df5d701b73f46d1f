"""Split virtqueues (virtio 1.2, section 2.7), as devices/virtio/queue.py has them: the same rules, and whatever breaks one is left to it.

The guest may write at any time to all that is read here: each word is loaded once.
"""

from __future__ import annotations

from gasang.devices.virtio.pump.state import SEGMENTS, Pump, Queue
from gasang.native import atomic_load, atomic_store, boolean, cast, fence, native, null, ptr, ref, u8, u16, u32, u64

NEXT, WRITE, INDIRECT = 1, 2, 4
NO_INTERRUPT = 1
ENTRY = 16
MOST_BYTES = 0xFFFF_FFFF
"""Of a chain (2.7.5.1)."""


@native
def host(p: ptr[Pump], address: u64, size: u64) -> u64:
    """Where guest memory is here; 0 unless all of it is memory of one area."""
    for i in range(p.area_count):
        area = ref(p.areas[i])
        inside = address - area.base
        if address >= area.base and inside < area.size and size <= area.size - inside:
            return area.host + inside
    return 0


@native
def note(p: ptr[Pump], address: u64, size: u64) -> None:
    """So many bytes here, at least one, were written to."""
    if p.dirty != null:
        first = (address - p.memory) // p.piece
        last = (address - p.memory + size - 1) // p.piece
        for i in range(first, last + 1):
            p.dirty[i] = 1


@native
def half(at: ptr[u8]) -> u32:
    """A word of two bytes that the guest writes."""
    return u32(atomic_load(cast(ptr[u16], at)))


@native
def waiting(q: ptr[Queue]) -> u32:
    """Buffers that are available; more than there can be where the driver is mistaken."""
    return (half(q.available + 2) - q.next_available) & 0xFFFF


@native
def any_waiting(p: ptr[Pump], q: ptr[Queue]) -> u32:
    """The same; none only if the driver will notify when it adds one (2.7.10)."""
    found = waiting(q)
    if found == 0 and q.event_index != 0:
        event = q.used + 4 + 8 * u64(q.size)
        atomic_store(cast(ptr[u16], event), u16(q.next_available))
        note(p, u64(event), 2)
        fence()
        found = waiting(q)
    return found


@native
def head_of(q: ptr[Queue]) -> u32:
    """The descriptor that the next available buffer begins with."""
    return half(q.available + 4 + 2 * u64(q.next_available & (q.size - 1)))


@native
def add(p: ptr[Pump], address: u64, size: u64) -> boolean:
    """One more segment of the chain; False where it is no memory, or one too many."""
    if size == 0:
        return True
    where = host(p, address, size)
    if where == 0 or p.count == SEGMENTS:
        return False
    p.vectors[p.count].base = where
    p.vectors[p.count].size = size
    p.count += 1
    return True


@native
def walk(p: ptr[Pump], q: ptr[Queue], head: u32) -> boolean:
    """Find the chain's segments: `readable` of `count` are to be read, the others filled. False for what breaks a rule, or is rare."""
    table = q.descriptors
    size = q.size
    index = head
    is_indirect = False
    is_filling = False
    total: u64 = 0
    p.readable = 0
    p.count = 0
    for _ in range(u32(SEGMENTS + 1)):
        if index >= size:
            return False
        address = atomic_load(cast(ptr[u64], table + ENTRY * u64(index)))
        rest = atomic_load(cast(ptr[u64], table + ENTRY * u64(index) + 8))
        bytes_ = rest & 0xFFFF_FFFF
        flags = u32(rest >> 32) & 0xFFFF
        if flags & INDIRECT != 0:
            if is_indirect or flags & NEXT != 0 or bytes_ == 0 or bytes_ % ENTRY != 0 or bytes_ // ENTRY > SEGMENTS or address % 8 != 0:
                return False
            where = host(p, address, bytes_)
            if where == 0:
                return False
            table = cast(ptr[u8], where)
            size = u32(bytes_ // ENTRY)
            index = 0
            is_indirect = True
        else:
            if flags & WRITE != 0:
                is_filling = True
            elif is_filling:
                return False
            total += bytes_
            if total > MOST_BYTES or not add(p, address, bytes_):
                return False
            if not is_filling:
                p.readable = p.count
            if flags & NEXT == 0:
                return True
            index = u32(rest >> 48)
    return False


@native
def push(p: ptr[Pump], q: ptr[Queue], head: u32, written: u32) -> None:
    """Return a buffer to the driver with the number of bytes written to it."""
    slot = q.used + 4 + 8 * u64(q.next_used & (q.size - 1))
    atomic_store(cast(ptr[u32], slot), head)
    atomic_store(cast(ptr[u32], slot + 4), written)
    q.next_used = (q.next_used + 1) & 0xFFFF
    atomic_store(cast(ptr[u16], q.used + 2), u16(q.next_used))
    note(p, u64(q.used), 4 + 8 * u64(q.size))


@native
def wants_interrupt(q: ptr[Queue]) -> boolean:
    """Whether the driver wants to hear of what was pushed since the last call (2.7.7)."""
    if q.next_used == q.signalled:
        return False
    fence()
    before = q.signalled
    q.signalled = q.next_used
    if q.event_index == 0:
        return half(q.available) & NO_INTERRUPT == 0
    event = half(q.available + 4 + 2 * u64(q.size))
    return (q.next_used - event - 1) & 0xFFFF < (q.next_used - before) & 0xFFFF
