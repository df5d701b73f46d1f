"""Queues lent to the compiled loop without a machine: bells that a test rings, and a driver that rings them."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
from collections.abc import Callable

from gasang.devices.virtio.bell import Bell, Loan, Place, Rings, Work
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.pump.pump import Area, Pump, pump_for
from support.board_parts import RAM_BASE, FakeMemory
from support.pci_driver import PciDriver

GUARD = 1 << 16


class RungBells:
    """Bells over a pump (devices.virtio.bell.Bells); without one, over the devices' own code alone."""

    def __init__(self, pump: Pump | None) -> None:
        self.pump = pump
        self.answers: dict[int, Callable[[], None]] = {}
        self.hung: dict[Place, int] = {}
        self.answered = 0
        self.poller = select.epoll()

    def hang(self, place: Place, answer: Callable[[], None]) -> Bell | None:
        """With an eventfd."""
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.poller.register(descriptor, select.EPOLLIN | select.EPOLLET)
        self.answers[descriptor] = answer
        self.hung[place] = descriptor
        return _Rung(self, place, descriptor)

    def ring(self, place: Place) -> None:
        """As the kernel does; then let it be served."""
        os.eventfd_write(self.hung[place], 1)
        self.run()

    def run(self) -> None:
        """Until nothing rings any more."""
        while rung := self.pump.poll(self.poller.fileno(), 0) if self.pump else self.poller.poll(0):
            for descriptor, _ in rung:
                self.answered += 1
                self.answers[descriptor]()

    def close(self) -> None:
        """Let go of all."""
        self.poller.close()
        for descriptor in self.answers:
            os.close(descriptor)


class _Rung:
    """One of them (devices.virtio.bell.Bell)."""

    def __init__(self, bells: RungBells, place: Place, descriptor: int) -> None:
        self._bells = bells
        self._place = place
        self._descriptor = descriptor

    def take_down(self) -> None:
        """It rings no more; its descriptor is closed with all others."""
        self._bells.hung.pop(self._place, None)

    def lend(self, rings: Rings, work: Work, interrupt: int) -> Loan | None:
        """To the pump, if there is one."""
        return self._bells.pump.lend(self._descriptor, rings, work, interrupt) if self._bells.pump else None


class PumpDriver(PciDriver):
    """A driver on PCI whose notifications ring. `interrupts` counts those of its device, however they come."""

    def __init__(self, device: VirtioDevice, *, compiled: bool = True) -> None:
        memory = FakeMemory()
        size = len(memory.content)
        self._whole = mmap.mmap(-1, size + 2 * GUARD)
        memory.content = memoryview(self._whole)[GUARD : GUARD + size]  # type: ignore[assignment]
        self._anchor = (ctypes.c_char * size).from_buffer(memory.content)
        areas = [Area(RAM_BASE, size, ctypes.addressof(self._anchor))]
        pump = pump_for(areas) if compiled else None
        assert bool(pump) == compiled
        super().__init__(device, memory)
        self.bells = RungBells(pump)
        self._events: dict[tuple[int, int], int] = {}
        self.transport.bells = self.bells
        self.transport.event_of = self.event_of

    def event_of(self, address: int, data: int) -> int:
        """An eventfd for a message."""
        if (address, data) not in self._events:
            self._events[address, data] = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return self._events[address, data]

    def interrupts(self) -> int:
        """So many since it was asked last."""
        found = len(self.messages)
        self.messages.clear()
        for descriptor in self._events.values():
            if select.select([descriptor], [], [], 0)[0]:
                found += os.eventfd_read(descriptor)
        return found

    def notify(self, queue: int) -> None:
        """Ring, and have it served."""
        place = self.transport._place(queue)
        assert place is not None
        self.bells.ring(place)

    def close(self) -> None:
        """Let go of all; nobody has written to what is around the memory."""
        self.transport.reset()
        assert self._whole[:GUARD] == self._whole[-GUARD:] == bytes(GUARD)
        self.bells.close()
        for descriptor in self._events.values():
            os.close(descriptor)
