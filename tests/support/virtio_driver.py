"""A guest's virtio driver in a few lines: it sets a transport up as Linux does and talks to its queues."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence

from gasang.core.protocols import GuestMemory
from gasang.devices.virtio.device import EVENT_IDX, INDIRECT_DESC, VERSION_1, VirtioDevice
from gasang.devices.virtio.mmio import VirtioMmio
from support.board_parts import RAM_BASE, FakeIrq, FakeMemory

MAGIC, VERSION, DEVICE_ID, DEVICE_FEATURES, DEVICE_FEATURES_SEL = 0x00, 0x04, 0x08, 0x10, 0x14
DRIVER_FEATURES, DRIVER_FEATURES_SEL, QUEUE_SEL, QUEUE_NUM_MAX, QUEUE_NUM = 0x20, 0x24, 0x30, 0x34, 0x38
QUEUE_READY, QUEUE_NOTIFY, INTERRUPT_STATUS, INTERRUPT_ACK, STATUS = 0x44, 0x50, 0x60, 0x64, 0x70
QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE, GENERATION, CONFIG = 0x80, 0x90, 0xA0, 0xFC, 0x100
NEXT, WRITE, INDIRECT = 1, 2, 4


class Ring:
    """The driver's side of one queue, laid out at `base`. Buffers come from `heap` on."""

    def __init__(self, memory: GuestMemory, base: int, size: int) -> None:
        self.memory, self.size = memory, size
        self.descriptors, self.available, self.used = base, base + 16 * size, (base + 18 * size + 16) & ~15
        self.heap = self.used + 8 * size + 64
        self.free = list(range(size))
        self.taken: dict[int, tuple[list[int], list[tuple[int, int]]]] = {}
        self.next_available = self.next_used = 0

    def put(self, data: bytes) -> int:
        address, self.heap = self.heap, self.heap + (len(data) + 15 & ~15)
        self.memory.write(address, data)
        return address

    def add(self, readable: Sequence[bytes] = (), writable: Sequence[int] = (), indirect: bool = False) -> int:
        """Make a buffer available; return its head."""
        segments = [(self.put(data), len(data), 0) for data in readable]
        segments += [(self.put(bytes(length)), length, WRITE) for length in writable]
        if indirect:
            table = b"".join(
                struct.pack("<QIHH", address, length, flags | (NEXT if index + 1 < len(segments) else 0), index + 1)
                for index, (address, length, flags) in enumerate(segments)
            )
            indices = [self.free.pop(0)]
            self.descriptor(indices[0], self.put(table), len(table), INDIRECT, 0)
        else:
            indices = [self.free.pop(0) for _ in segments]
            for position, (address, length, flags) in enumerate(segments):
                last = position + 1 == len(segments)
                self.descriptor(indices[position], address, length, flags | (0 if last else NEXT), 0 if last else indices[position + 1])
        self.taken[indices[0]] = indices, [(address, length) for address, length, flags in segments if flags & WRITE]
        self.publish(indices[0])
        return indices[0]

    def descriptor(self, index: int, address: int, length: int, flags: int, following: int) -> None:
        self.memory.write(self.descriptors + 16 * index, struct.pack("<QIHH", address, length, flags, following))

    def publish(self, head: int) -> None:
        self.memory.write(self.available + 4 + 2 * (self.next_available % self.size), struct.pack("<H", head))
        self.next_available = (self.next_available + 1) & 0xFFFF
        self.memory.write(self.available + 2, struct.pack("<H", self.next_available))

    def take_used(self) -> list[tuple[int, bytes]]:
        """The (head, content written) of what the device has returned since."""
        done = []
        (index,) = struct.unpack("<H", self.memory.read(self.used + 2, 2))
        while self.next_used != index:
            head, length = struct.unpack("<II", self.memory.read(self.used + 4 + 8 * (self.next_used % self.size), 8))
            self.next_used = (self.next_used + 1) & 0xFFFF
            indices, writable = self.taken.pop(head)
            self.free += indices
            content = b"".join(self.memory.read(address, size) for address, size in writable)
            done.append((head, content[:length]))
        return done

    def set_flags(self, flags: int) -> None:
        self.memory.write(self.available, struct.pack("<H", flags))

    def set_used_event(self, event: int) -> None:
        self.memory.write(self.available + 4 + 2 * self.size, struct.pack("<H", event & 0xFFFF))

    def available_event(self) -> int:
        (event,) = struct.unpack("<H", self.memory.read(self.used + 4 + 8 * self.size, 2))
        return int(event)


class Driver:
    """Brings a device up and keeps its rings."""

    def __init__(self, device: VirtioDevice, memory: FakeMemory | None = None) -> None:
        self.memory = memory or FakeMemory()
        self.irq = FakeIrq()
        self.faults: list[str] = []
        self.transport = VirtioMmio(device, self.memory, self.irq, threading.RLock(), self.faults.append)
        self.rings: list[Ring] = []

    def read(self, offset: int, width: int = 4) -> int:
        return self.transport.read(offset, width)

    def write(self, offset: int, value: int) -> None:
        self.transport.write(offset, 4, value)

    def offered(self) -> int:
        self.write(DEVICE_FEATURES_SEL, 1)
        high = self.read(DEVICE_FEATURES)
        self.write(DEVICE_FEATURES_SEL, 0)
        return high << 32 | self.read(DEVICE_FEATURES)

    def negotiate(self, features: int) -> None:
        self.write(STATUS, 0)
        self.write(STATUS, 1)
        self.write(STATUS, 3)
        for word in (0, 1):
            self.write(DRIVER_FEATURES_SEL, word)
            self.write(DRIVER_FEATURES, features >> 32 * word & 0xFFFF_FFFF)
        self.write(STATUS, 11)

    def start(self, features: int | None = None, size: int = 16, without: int = EVENT_IDX) -> Driver:
        """Reset to DRIVER_OK; all that is offered but `without` is accepted unless `features` says otherwise."""
        self.negotiate(self.offered() & ~without if features is None else features | VERSION_1 | INDIRECT_DESC)
        assert self.read(STATUS) == 11
        self.rings = []
        span = len(self.memory.content) // (len(self.transport.queues) + 1) & ~0xFFF
        for index in range(len(self.transport.queues)):
            self.write(QUEUE_SEL, index)
            self.rings.append(self.setup(RAM_BASE + index * span, min(size, self.read(QUEUE_NUM_MAX))))
        self.write(STATUS, 15)
        return self

    def setup(self, base: int, size: int) -> Ring:
        """Place the selected queue at `base`."""
        ring = Ring(self.memory, base, size)
        self.memory.write(ring.available, bytes(6 + 2 * size))
        self.memory.write(ring.used, bytes(6 + 8 * size))
        self.write(QUEUE_NUM, size)
        for register, address in ((QUEUE_DESC, ring.descriptors), (QUEUE_DRIVER, ring.available), (QUEUE_DEVICE, ring.used)):
            self.write(register, address & 0xFFFF_FFFF)
            self.write(register + 4, address >> 32)
        self.write(QUEUE_READY, 1)
        return ring

    def notify(self, queue: int) -> None:
        self.write(QUEUE_NOTIFY, queue)

    def request(self, queue: int, readable: Sequence[bytes] = (), writable: Sequence[int] = (), indirect: bool = False) -> bytes:
        """One buffer there and back: what the device wrote."""
        ring = self.rings[queue]
        head = ring.add(readable, writable, indirect)
        self.notify(queue)
        ((done, content),) = ring.take_used()
        assert done == head
        return content

    def acknowledge(self) -> int:
        """What an interrupt handler does; the events there were."""
        events = self.read(INTERRUPT_STATUS)
        self.write(INTERRUPT_ACK, events)
        return events
