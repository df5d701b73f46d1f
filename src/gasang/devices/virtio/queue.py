"""Split virtqueues, the device's side (virtio 1.2, section 2.7), including indirect descriptors and event indices.

Everything in the rings is written by the guest and believed only after a check: indices against the queue's size, chain
lengths against `MAX_CHAIN` (which also ends loops), the order of a chain's segments, and addresses in `GuestMemory`. A broken
rule raises `QueueError`, an address outside RAM raises `GuestMemoryFault`; the transport turns both (`GUEST_FAULTS`) into
DEVICE_NEEDS_RESET.

The caller holds the bus lock.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gasang.core.protocols import GuestMemory, GuestMemoryFault
from gasang.devices.virtio.bell import Rings

MAX_CHAIN = 1024
"""Segments a chain may have, indirect ones included. Larger than any queue here, so that no honest driver meets it."""
BATCH = 1024
"""Buffers taken at a time, more than any queue here has: a guest that adds them as fast as they are taken does not keep us for ever."""
MAX_CHAIN_BYTES = (1 << 32) - 1
"""What a chain may hold in all (section 2.7.5.1)."""

NEXT, WRITE, INDIRECT = 1, 2, 4
NO_INTERRUPT = 1

_DESCRIPTOR = struct.Struct("<QIHH")
_INDEX = struct.Struct("<H")
_USED_ELEMENT = struct.Struct("<II")


class QueueError(Exception):
    """The guest broke a rule of virtqueues; its device must be reset before it works again."""


GUEST_FAULTS = (QueueError, GuestMemoryFault)
"""What a guest can provoke: its own device fails, nothing else."""

Segment = tuple[int, int]
"""Guest-physical address and length in bytes."""


@dataclass(slots=True)
class Chain:
    """One buffer the driver made available: segments to read, then segments to fill."""

    head: int
    readable: list[Segment] = field(default_factory=list)
    writable: list[Segment] = field(default_factory=list)

    def readable_length(self) -> int:
        """Bytes the device may read."""
        return sum(length for _, length in self.readable)

    def writable_length(self) -> int:
        """Bytes the device may write."""
        return sum(length for _, length in self.writable)


def gather(memory: GuestMemory, segments: Sequence[Segment]) -> bytes:
    """The content of `segments`, joined. The caller has bounded their total."""
    return b"".join([memory.view(address, length) for address, length in segments])


def scatter(memory: GuestMemory, segments: Sequence[Segment], data: bytes | memoryview) -> int:
    """Lay `data` over `segments`; return how many bytes they took."""
    done = 0
    window = memoryview(data)
    for address, length in segments:
        if done == len(window):
            break
        part = window[done : done + length]
        memory.write(address, part)
        done += len(part)
    return done


def split(segments: Sequence[Segment], at: int) -> tuple[list[Segment], list[Segment]]:
    """`segments` cut after `at` bytes: the part before and the part behind. Neither holds an empty segment."""
    before: list[Segment] = []
    for index, (address, length) in enumerate(segments):
        if at < length:
            if at:
                before.append((address, at))
            return before, [(address + at, length - at), *segments[index + 1 :]]
        before.append((address, length))
        at -= length
    return before, []


def pieces(segments: Sequence[Segment], largest: int) -> Iterator[list[Segment]]:
    """`segments` in groups of at most `largest` bytes each, in order."""
    if sum(length for _, length in segments) <= largest:
        if segments:
            yield list(segments)
        return
    rest = list(segments)
    while rest:
        group, rest = split(rest, largest)
        yield group


def _index(ring: memoryview, offset: int) -> int:
    (value,) = _INDEX.unpack_from(ring, offset)
    return int(value)


class Virtqueue:
    """One queue. Its addresses come from the transport while it is not ready; `enable` believes them or raises."""

    def __init__(self, memory: GuestMemory, max_size: int) -> None:
        self._memory = memory
        self._barrier_lock = threading.Lock()
        self._barrier_lock.acquire()
        self._descriptors: memoryview | None = None
        self._available: memoryview | None = None
        self.max_size = max_size
        self.budget = BATCH
        """Buffers that may still be popped this time; -1 when one more was asked for."""
        self.reset()

    def reset(self) -> None:
        """Forget what the driver set up."""
        self.disable()
        self.size = self.max_size
        self.descriptor_area = self.driver_area = self.device_area = 0
        self.event_index = False
        self._next_available = self._next_used = self._signalled = 0

    @property
    def ready(self) -> bool:
        """Whether the queue may be used."""
        return self._available is not None

    def enable(self) -> None:
        """Start using the rings where they are; raise QueueError or GuestMemoryFault if they cannot be there."""
        size = self.size
        if not 1 <= size <= self.max_size or size & (size - 1):
            raise QueueError(f"a queue of {size} entries: it must be a power of two up to {self.max_size}")
        if self.descriptor_area % 16 or self.driver_area % 2 or self.device_area % 4:
            raise QueueError("a queue's rings are not aligned")
        self._memory.view(self.device_area, 6 + 8 * size).release()
        self._descriptors = self._memory.view(self.descriptor_area, 16 * size)
        self._available = self._memory.view(self.driver_area, 6 + 2 * size)

    def disable(self) -> None:
        """Stop using the rings and let go of guest memory; the indices stay."""
        for view in (self._descriptors, self._available):
            if view is not None:
                view.release()
        self._descriptors = self._available = None

    def pop(self) -> Chain | None:
        """The next available buffer; None without one, and then the driver will notify when it adds one (2.7.10).

        None as well when the budget is spent: then it is for the transport to have the rest served.
        """
        available = self._available
        if available is None:
            return None
        waiting = self._waiting(available)
        if not waiting:
            if not self.event_index:
                return None
            self._memory.write(self.device_area + 4 + 8 * self.size, _INDEX.pack(self._next_available))
            self._barrier()
            waiting = self._waiting(available)
            if not waiting:
                return None
        if waiting > self.size:
            raise QueueError(f"{waiting} buffers are available in a queue of {self.size}")
        if self.budget <= 0:
            self.budget = -1
            return None
        self.budget -= 1
        head = _index(available, 4 + 2 * (self._next_available & (self.size - 1)))
        self._next_available = (self._next_available + 1) & 0xFFFF
        return self.chain(head)

    def added(self) -> int:
        """How many buffers the driver has made available in all, modulo 2^16; it notifies when it adds the next. -1 while it cannot."""
        available = self._available
        if available is None:
            return -1
        if self.event_index:
            self._memory.write(self.device_area + 4 + 8 * self.size, available[2:4])
            self._barrier()
        return _index(available, 2)

    def put_back(self, chain: Chain) -> None:
        """Have the buffer that was popped last be available again; the driver need not notify for it."""
        if self.ready:
            self._next_available = (self._next_available - 1) & 0xFFFF
            self.budget += 1

    def push(self, chain: Chain, written: int) -> None:
        """Return a buffer to the driver with the number of bytes written to it."""
        if not self.ready:
            return
        slot = self.device_area + 4 + 8 * (self._next_used & (self.size - 1))
        self._memory.write(slot, _USED_ELEMENT.pack(chain.head, written))
        self._next_used = (self._next_used + 1) & 0xFFFF
        self._barrier()
        self._memory.write(self.device_area + 2, _INDEX.pack(self._next_used))

    def wants_interrupt(self) -> bool:
        """Whether the driver wants to hear of what was pushed since the last call (2.7.7)."""
        available = self._available
        if available is None or self._next_used == self._signalled:
            return False
        self._barrier()
        before, self._signalled = self._signalled, self._next_used
        if not self.event_index:
            return not _index(available, 0) & NO_INTERRUPT
        event = _index(available, 4 + 2 * self.size)
        return (self._next_used - event - 1) & 0xFFFF < (self._next_used - before) & 0xFFFF

    def chain(self, head: int) -> Chain:
        """The chain that starts at descriptor `head`; raise QueueError if it breaks the rules of section 2.7.5."""
        table, size = self._descriptors, self.size
        if table is None:
            raise QueueError("a buffer of a queue that is not ready")
        chain = Chain(head)
        index, indirect, count, total = head, False, 0, 0
        while True:
            if index >= size:
                raise QueueError(f"descriptor {index} in a table of {size}")
            address, length, flags, following = _DESCRIPTOR.unpack_from(table, 16 * index)
            if flags & INDIRECT:
                if indirect or flags & NEXT:
                    raise QueueError("an indirect descriptor with a successor or in an indirect table")
                table, size, index, indirect = self._indirect_table(address, length), length // 16, 0, True
                continue
            count += 1
            total += length
            if count > MAX_CHAIN or total > MAX_CHAIN_BYTES:
                raise QueueError(f"a chain of more than {MAX_CHAIN} segments or {MAX_CHAIN_BYTES} bytes, or a loop")
            if flags & WRITE:
                if length:
                    chain.writable.append((address, length))
            elif chain.writable:
                raise QueueError("a segment to read behind one to fill")
            elif length:
                chain.readable.append((address, length))
            if not flags & NEXT:
                return chain
            index = following

    def rings(self) -> Rings:
        """Where a queue that is ready is, and where it stands."""
        size = self.size
        places = (self.descriptor_area, 16 * size), (self.driver_area, 6 + 2 * size), (self.device_area, 6 + 8 * size)
        return Rings(places, size, self.event_index, (self._next_available, self._next_used, self._signalled))

    def go_on(self, indices: tuple[int, int, int]) -> None:
        """Stand where somebody else has left it (`Rings.indices`)."""
        self._next_available, self._next_used, self._signalled = indices

    def save(self) -> list[int]:
        """The registers and indices, as `load` takes them."""
        return [
            self.size,
            self.descriptor_area,
            self.driver_area,
            self.device_area,
            int(self.event_index),
            self._next_available,
            self._next_used,
            self._signalled,
            int(self.ready),
        ]

    def load(self, saved: Sequence[int]) -> None:
        """Become the saved queue; guest memory is restored already."""
        self.disable()
        self.size, self.descriptor_area, self.driver_area, self.device_area = saved[:4]
        self.event_index = bool(saved[4])
        self._next_available, self._next_used, self._signalled = saved[5:8]
        if saved[8]:
            self.enable()

    def _indirect_table(self, address: int, length: int) -> memoryview:
        if not length or length % 16 or length // 16 > MAX_CHAIN:
            raise QueueError(f"an indirect table of {length} bytes")
        return memoryview(self._memory.read(address, length))

    def _waiting(self, available: memoryview) -> int:
        return (_index(available, 2) - self._next_available) & 0xFFFF

    def _barrier(self) -> None:
        """Order our stores to guest memory before our loads from it, as seen by other processors.

        The rings are lock-free: each side stores its index, then loads the other's. Releasing a lock and taking it again
        is a full barrier on every host Python runs on.
        """
        self._barrier_lock.release()
        self._barrier_lock.acquire()
