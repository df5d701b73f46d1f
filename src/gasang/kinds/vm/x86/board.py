"""The x86-64 board: what is on its ports and in its physical address space, and how the kernel is told.

Interrupt lines are those of the I/O APIC, which the accelerator has: `wire` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.core.protocols import CharacterSink, GuestMemory, IrqLine
from gasang.devices.acpi_power import AcpiPower
from gasang.devices.bus import Bus
from gasang.devices.cmos import Cmos
from gasang.devices.i8042 import I8042
from gasang.devices.pci.host import SLOTS, ConfigPorts, Ecam, PciBus
from gasang.devices.pci.host import Window as PciWindow
from gasang.devices.pci.msix import SendMessage
from gasang.devices.pvpanic import Pvpanic
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import PowerRequest
from gasang.devices.virtio.bell import Bells
from gasang.devices.virtio.device import KINDS, VirtioDevice
from gasang.devices.virtio.mmio import VirtioMmio
from gasang.devices.virtio.pci import WINDOW, VirtioPci
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.acpi import Described, Window

BELLED: Final = (1, 2)
"""Network cards and disks: a driver's notification need not stop the guest. What others send is served before the guest goes on."""
VIRTIO_IRQS: Final = (5, 6, 7, 9, 10, 11, 12, 13, 14, 15, *range(16, 24))
"""Pins of the I/O APIC that nothing else has."""


@dataclass(frozen=True)
class Wires:
    """What the board is connected to. `wire` gives the line to a pin of the I/O APIC."""

    wire: Callable[[int], IrqLine]
    on_power: Callable[[PowerRequest], None]
    serial_sink: CharacterSink
    on_fault: Callable[[str], None] = field(default=lambda sentence: None)
    send_message: SendMessage = field(default=lambda address, data: None)
    """Delivers a message-signalled interrupt."""
    event_of: Callable[[int, int], int | None] = field(default=lambda address, data: None)
    """The eventfd that delivers one, where it has one."""
    bells: Bells | None = None
    """Hears the notifications of disks and network cards."""


class PcBoard:
    """Two buses full of devices, and a PCI bus where there are `pci` devices.

    `virtio` devices get their windows, `pci` devices their slots in the order given. Raises UsageError for more than have room.
    """

    def __init__(
        self,
        bus: Bus,
        ports: Bus,
        memory: GuestMemory,
        wires: Wires,
        virtio: Sequence[VirtioDevice] = (),
        pci: Sequence[VirtioDevice] = (),
        *,
        cpus: int = 1,
    ) -> None:
        for devices, room in ((virtio, len(VIRTIO_IRQS)), (pci, SLOTS - 1)):
            if len(devices) > room:
                raise UsageError(f"{len(devices)} devices", f"this board has room for {room}", "leave some out")
        self.bus, self.ports = bus, ports
        self.cpus = cpus
        self._memory = memory
        self.pci_functions: list[VirtioPci] = []
        """Those of `pci`, in the order they were given in."""
        self._generation = wires.wire(layout.GENERATION_IRQ)
        self.serial = Serial16550(wires.wire(layout.SERIAL_IRQ), wires.serial_sink)
        self.serial.size = 8
        ports.attach("serial", layout.SERIAL_PORT, self.serial)
        ports.attach("cmos", layout.RTC_PORT, Cmos())
        ports.attach("i8042", layout.I8042_PORT, I8042(wires.on_power))
        ports.attach("power", layout.SLEEP_PORT, AcpiPower(layout.SLEEP_TYPE_OFF, layout.RESET_VALUE, wires.on_power))
        ports.attach("pvpanic", layout.PVPANIC_PORT, Pvpanic(wires.on_power))
        self.virtio: list[VirtioMmio] = []
        self.windows: list[Window] = []
        for slot, device in enumerate(virtio):
            self._plug(slot, device, memory, wires)
        self.pci = PciBus() if pci else None
        if self.pci is not None:
            self._plug_pci(self.pci, pci, memory, wires)

    def _plug_pci(self, pci: PciBus, devices: Sequence[VirtioDevice], memory: GuestMemory, wires: Wires) -> None:
        for number, device in enumerate(devices):
            told = partial(_tell, wires.on_fault, _name(device))
            base = layout.PCI_WINDOW + number * WINDOW
            function = VirtioPci(device, memory, wires.send_message, self.bus.lock, base, told)
            function.bells = wires.bells if device.device_id in BELLED else None
            function.event_of = wires.event_of
            pci.plug(function)
            self.pci_functions.append(function)
        self.bus.attach("pci", layout.ECAM_BASE, Ecam(pci))
        self.bus.attach("pci window", layout.PCI_WINDOW, PciWindow(pci, layout.PCI_WINDOW, layout.PCI_WINDOW_SIZE))
        self.ports.attach("pci ports", layout.PCI_PORTS, ConfigPorts(pci))

    def _plug(self, slot: int, device: VirtioDevice, memory: GuestMemory, wires: Wires) -> None:
        irq = VIRTIO_IRQS[slot]
        transport = VirtioMmio(device, memory, wires.wire(irq), self.bus.lock, partial(_tell, wires.on_fault, _name(device)))
        transport.bells = wires.bells if device.device_id in BELLED else None
        window = Window(layout.VIRTIO_BASE + slot * VirtioMmio.size, VirtioMmio.size, irq)
        transport.base = window.base
        self.bus.attach(f"virtio{slot}", window.base, transport)
        self.virtio.append(transport)
        self.windows.append(window)

    @property
    def devices(self) -> list[VirtioDevice]:
        """The virtio devices: those on MMIO, then those on PCI, each in the order they were given in."""
        return [transport.device for transport in (*self.virtio, *self.pci_functions)]

    def described(self) -> Described:
        """What the ACPI tables tell."""
        return Described(self.cpus, tuple(self.windows), has_pci=self.pci is not None, generation_id=layout.GENERATION, has_pvpanic=True)

    def document(self) -> dict[str, Any]:
        """What a machine must be made of to take over the state of one on this board; plain values."""
        mmio, pci = ([transport.device.device_id for transport in plugged] for plugged in (self.virtio, self.pci_functions))
        return {"name": "pc", "harts": self.cpus, "virtio": mmio, "pci": pci}

    def become(self, generation: bytes) -> None:
        """Another VM generation ID, and the guest is told by the event device's interrupt; the bus lock is held."""
        self._memory.write(layout.GENERATION, generation)
        self._generation.set(True)
        self._generation.set(False)

    def settle(self) -> None:
        """Return when nothing is served beside the vCPUs, which stand still; without the bus lock."""
        for transport in (*self.virtio, *self.pci_functions):
            transport.settle()

    def take_back(self) -> None:
        """Have nothing served by compiled code; the bus lock is held."""
        for function in self.pci_functions:
            function.take_back()

    def renew(self) -> None:
        """In a forked process: nothing here has a lock or a timer of its own."""

    def reset(self) -> None:
        """Return every device to its power-on state."""
        self.bus.reset()
        self.ports.reset()


def _name(device: VirtioDevice) -> str:
    return KINDS.get(device.device_id, f"virtio device {device.device_id}")


def _tell(on_fault: Callable[[str], None], name: str, cause: str) -> None:
    on_fault(f"{name}: {cause}")
