"""Message-signalled interrupts: one that comes often gets a GSI (KVM_SET_GSI_ROUTING) and an eventfd that raises it (KVM_IRQFD).

Raising it is then one store to the eventfd, without a structure. What is rare goes by KVM_SIGNAL_MSI. A message is what the guest wrote
into a vector; whether it is sent, masked or pending, is for the device's MSI-X to say (devices/pci/msix.py): both ways are alike to it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import RefusedError, call

OFTEN: Final = 8
"""Times that a message comes before it gets a GSI: a new route halts the kernel for a while, and guests try vectors out."""
MOST: Final = 128
"""Messages with a GSI. A guest that moves its vectors about makes more: then all begin anew."""
_COUNTED: Final = 1024
"""Rare messages that are counted apart."""
_PINS: Final = 24
"""GSIs that are pins of the I/O APIC; the first sixteen are lines of the two PICs as well."""
_PIC: Final = 8
_MASTER, _SLAVE, _IOAPIC = 0, 1, 2
_CHIP, _MESSAGE = 1, 2
"""KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI"""
_DEASSIGN: Final = 1

Message = tuple[int, int]
"""Address and data, both the guest's to choose."""


def _pins() -> list[s.Route]:
    """What KVM_CREATE_IRQCHIP routes, which the kernel forgets when it is given routes."""
    pics = [_chip(pin, _MASTER if pin < _PIC else _SLAVE, pin % _PIC) for pin in range(2 * _PIC)]
    return [*pics, *(_chip(pin, _IOAPIC, pin) for pin in range(_PINS))]


def _chip(gsi: int, chip: int, pin: int) -> s.Route:
    route = s.Route(gsi=gsi, type=_CHIP)
    route.words[0], route.words[1] = chip, pin
    return route


def _message(gsi: int, message: Message) -> s.Route:
    address, data = message
    route = s.Route(gsi=gsi, type=_MESSAGE)
    route.words[0], route.words[1], route.words[2] = address & 0xFFFF_FFFF, address >> 32, data
    return route


class Messages:
    """Those of a machine with the kernel's interrupt controllers, given by its descriptor. `refused` hears, once, that none gets a GSI."""

    def __init__(self, machine: int) -> None:
        self.refused: Callable[[str], None] = lambda sentence: None
        self.before_settling: Callable[[], None] = lambda: None
        """Called before eventfds are taken away: whoever has one (`event_of`) lets go of it."""
        self._machine = machine
        self._begin()

    def _begin(self) -> None:
        self._raises: dict[Message, int] = {}
        """The eventfd of each that has a GSI; they are numbered in this order."""
        self._seen: Counter[Message] = Counter()
        self._works = True

    @property
    def routed(self) -> Sequence[Message]:
        """Those that have a GSI."""
        return tuple(self._raises)

    def send(self, address: int, data: int) -> None:
        """Deliver one. What leads nowhere, which is the guest's own doing, is lost. One thread at a time: the bus lock is held."""
        message = address, data
        descriptor = self._raises.get(message)
        if descriptor is not None:
            os.eventfd_write(descriptor, 1)
            return
        with suppress(RefusedError):
            call(self._machine, ioctls.SIGNAL_MSI, s.Msi(address & 0xFFFF_FFFF, address >> 32, data))
            self._count(message)

    def event_of(self, address: int, data: int) -> int | None:
        """The eventfd that delivers a message, None where it has none; the bus lock is held."""
        return self._raises.get((address, data))

    def _count(self, message: Message) -> None:
        self._seen[message] += 1
        if self._works and self._seen[message] >= OFTEN:
            self._route(message)
        if len(self._seen) > _COUNTED:
            self._seen.clear()

    def _route(self, message: Message) -> None:
        if len(self._raises) == MOST:
            self.settle()
        del self._seen[message]
        gsi = _PINS + len(self._raises)
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._tell([*self._raises, message])
            call(self._machine, ioctls.IRQFD, s.Irqfd(fd=descriptor, gsi=gsi))
        except RefusedError as error:
            os.close(descriptor)
            self._works = False
            self.refused(f"{error.cause}: interrupts of this machine's devices are slower")
        else:
            self._raises[message] = descriptor

    def _tell(self, messages: Sequence[Message]) -> None:
        routes = _pins() + [_message(_PINS + number, message) for number, message in enumerate(messages)]
        record = s.listed(s.Routing, s.Route, len(routes))()
        record.nr = len(routes)
        record.entries[:] = routes
        call(self._machine, ioctls.SET_GSI_ROUTING, record)

    def settle(self) -> None:
        """Return when all that were sent have arrived at their vCPUs, as a machine's state needs it; none has a GSI then.

        The kernel may raise an interrupt on a thread of its own, and waits for that when an eventfd is taken from it.
        """
        self.before_settling()
        for number, descriptor in enumerate(self._raises.values()):
            call(self._machine, ioctls.IRQFD, s.Irqfd(fd=descriptor, gsi=_PINS + number, flags=_DEASSIGN))
            os.close(descriptor)
        self._raises.clear()

    def renew(self, machine: int) -> None:
        """In a forked process: those of another machine, which knows of no GSI yet."""
        self.close()
        self._machine = machine
        self._begin()

    def close(self) -> None:
        """Let go of all; the machine sends no more."""
        for descriptor in self._raises.values():
            os.close(descriptor)
        self._raises.clear()
