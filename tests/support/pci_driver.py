"""A guest's driver of virtio on PCI in a few lines: it finds the structures by their capabilities, and sets a device up as Linux does."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gasang.core.protocols import GuestMemory
from gasang.devices.pci.config import BUS_MASTER, CAPABILITIES, COMMAND, MEMORY_SPACE
from gasang.devices.virtio.device import EVENT_IDX, VirtioDevice
from gasang.devices.virtio.pci import VirtioPci
from support.board_parts import RAM_BASE, FakeMemory
from support.virtio_driver import Ring

BASE = 0xC100_0000
STRUCTURE, MSIX = 0x09, 0x11
COMMON, NOTIFY, ISR, DEVICE, ACCESS = 1, 2, 3, 4, 5


class PciDriver:
    """Brings a device up and keeps its rings. Messages it gets are in `messages`."""

    def __init__(self, device: VirtioDevice, memory: FakeMemory | None = None) -> None:
        self.memory = memory or FakeMemory()
        self.messages: list[tuple[int, int]] = []
        self.faults: list[str] = []

        def send(address: int, data: int) -> None:
            self.messages.append((address, data))

        made = VirtioPci(device, self.memory, send, threading.RLock(), BASE, self.faults.append)
        self.drive(made, self.memory, RAM_BASE, len(self.memory.content))

    @classmethod
    def of(cls, transport: VirtioPci, memory: GuestMemory, base: int, size: int) -> PciDriver:
        """Of a device that is on a board already; rings and buffers lie in `size` bytes of its memory at `base`."""
        driver = cls.__new__(cls)
        driver.messages, driver.faults = [], []
        driver.drive(transport, memory, base, size)
        return driver

    def drive(self, transport: VirtioPci, memory: GuestMemory, base: int, size: int) -> None:
        """Find out how."""
        self.transport = transport
        self._ram, self._base, self._size = memory, base, size
        self.rings: list[Ring] = []
        self.where: dict[int, int] = {}
        self.find()

    def get(self, offset: int, width: int = 4) -> int:
        """Of configuration space."""
        return self.transport.read_config(offset, width)

    def set(self, offset: int, width: int, value: int) -> None:
        """Of configuration space."""
        self.transport.write_config(offset, width, value)

    def find(self) -> None:
        """Walk the capabilities."""
        at = self.get(CAPABILITIES, 1)
        while at:
            kind = self.get(at, 1)
            if kind == STRUCTURE:
                structure = self.get(at + 3, 1)
                self.where[structure] = at if structure == ACCESS else self.get(at + 8)
                if structure == NOTIFY:
                    self.multiplier = self.get(at + 16)
            elif kind == MSIX:
                self.msix, self.vectors = at, (self.get(at + 2, 2) & 0x7FF) + 1
                self.table, self.pending = self.get(at + 4), self.get(at + 8)
            at = self.get(at + 1, 1)

    def common(self, offset: int, width: int) -> int:
        """A register of the common configuration."""
        return self.transport.read(self.where[COMMON] + offset, width)

    def put(self, offset: int, width: int, value: int) -> None:
        """Store to a register of the common configuration."""
        self.transport.write(self.where[COMMON] + offset, width, value)

    def status(self) -> int:
        """The device's status."""
        return self.common(0x14, 1)

    def offered(self) -> int:
        """The features it offers."""
        found = 0
        for word in (0, 1):
            self.put(0, 4, word)
            found |= self.common(4, 4) << 32 * word
        return found

    def start(self, size: int = 16, without: int = EVENT_IDX, features: int | None = None) -> PciDriver:
        """Reset to DRIVER_OK, with a vector for the configuration and one for each queue."""
        self.set(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
        self.set(self.msix + 2, 2, 1 << 15)
        for vector in range(self.vectors):
            for at, value in ((0, 0xFEE0_0000), (4, 0), (8, vector), (12, 0)):
                self.transport.write(self.table + 16 * vector + at, 4, value)
        for status in (0, 1, 3):
            self.put(0x14, 1, status)
        wanted = self.offered() & ~without if features is None else features
        for word in (0, 1):
            self.put(8, 4, word)
            self.put(0xC, 4, wanted >> 32 * word & 0xFFFF_FFFF)
        self.put(0x14, 1, 11)
        self.put(0x10, 2, 0)
        self.rings = []
        count = self.common(0x12, 2)
        span = self._size // (count + 1) & ~0xFFF
        for index in range(count):
            self.rings.append(self.setup(index, self._base + index * span, size))
        self.put(0x14, 1, 15)
        return self

    def setup(self, index: int, base: int, size: int) -> Ring:
        """Place a queue at `base`."""
        self.put(0x16, 2, index)
        size = min(size, self.common(0x18, 2))
        ring = Ring(self._ram, base, size)
        self._ram.write(ring.available, bytes(6 + 2 * size))
        self._ram.write(ring.used, bytes(6 + 8 * size))
        self.put(0x18, 2, size)
        self.put(0x1A, 2, index + 1)
        for register, address in ((0x20, ring.descriptors), (0x28, ring.available), (0x30, ring.used)):
            self.put(register, 4, address & 0xFFFF_FFFF)
            self.put(register + 4, 4, address >> 32)
        self.put(0x1C, 2, 1)
        return ring

    def notify(self, queue: int) -> None:
        """Tell the device of buffers."""
        self.transport.write(self.where[NOTIFY] + self.multiplier * queue, 2, queue)

    def request(self, queue: int, readable: Sequence[bytes] = (), writable: Sequence[int] = ()) -> bytes:
        """One buffer there and back: what the device wrote."""
        ring = self.rings[queue]
        head = ring.add(readable, writable)
        self.notify(queue)
        ((done, content),) = ring.take_used()
        assert done == head
        return content
