"""What the compiled code and the interpreter share of a machine's queues.

A queue is *lent* while the compiled code serves it: then its indices are here, and `lock` is held around every use of them. Python
takes a queue back before it looks at it or changes anything it depends on. A chain's segments are host addresses, checked when found.
"""

from __future__ import annotations

from typing import Final

from gasang.native import array, i64, length, ptr, struct, u8, u32, u64

SEGMENTS: Final = 1024
"""Of a chain, as devices/virtio/queue.py has it (MAX_CHAIN)."""
QUEUES: Final = 64
AREAS: Final = 2
EVENTS: Final = 16
LAYERS: Final = 256


@struct
class Area:
    """Guest memory: `size` bytes at guest-physical `base`, which are at `host` here."""

    base: u64
    size: u64
    host: u64


@struct
class Vector:
    """As the kernel has it: struct iovec."""

    base: u64
    size: u64


@struct
class Queue:
    """A queue's place; `bell` is the eventfd of its notifications, minus one where the place is free."""

    lock: u32
    lent: u32
    kind: u32
    size: u32
    bell: i64
    interrupt: i64  # an eventfd, or less than zero: nobody wants to hear
    descriptors: ptr[u8]
    available: ptr[u8]
    used: ptr[u8]
    event_index: u32
    next_available: u32
    next_used: u32
    signalled: u32
    interrupted: u32  # whether an interrupt was raised since it was lent
    served: u64
    sectors: u64  # a disk's, from here on
    clusters: ptr[u8]  # which layer each is in, or null: there is `top` alone
    top: u32
    writable: u32
    may_own: u32  # whether clusters may become the top layer's
    owned: u32  # whether some did
    files: array[i64] = length(LAYERS)  # of each layer; a network card's tap is the first


@struct
class Pump:
    """All of a machine's. What follows `queues` is for the one chain that is being served."""

    waits: i64  # the epoll instance
    dirty: ptr[u8]  # a byte for each PIECE of memory that was written to, or null
    memory: u64  # where the memory begins here
    piece: u64
    area_count: u32
    areas: array[Area] = length(AREAS)
    queues: array[Queue] = length(QUEUES)
    odd: array[i64] = length(EVENTS)  # descriptors whose events are the interpreter's
    events: array[u32] = length(EVENTS * 3)  # struct epoll_event, which is packed on x86-64
    readable: u32
    count: u32
    vectors: array[Vector] = length(SEGMENTS)
    slice: array[Vector] = length(SEGMENTS)
    header: array[u64] = length(2)
    one: u64
