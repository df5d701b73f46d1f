"""Every device model there is, in one place. Adding a device is one new file and one line here."""

from __future__ import annotations

from gasang.core.protocols import MmioDevice
from gasang.devices.aclint import Mtimer, Sswi
from gasang.devices.acpi_power import AcpiPower
from gasang.devices.cmos import Cmos
from gasang.devices.generation_id import GenerationId
from gasang.devices.goldfish_rtc import GoldfishRtc
from gasang.devices.i8042 import I8042
from gasang.devices.pci.host import ConfigPorts, Ecam, Window
from gasang.devices.plic import Plic
from gasang.devices.pvpanic import Pvpanic
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import Syscon
from gasang.devices.virtio.balloon import VirtioBalloon
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.console import VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.fs import VirtioFs
from gasang.devices.virtio.mmio import VirtioMmio
from gasang.devices.virtio.net import VirtioNet
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.virtio.vsock import VirtioVsock

DEVICES: dict[str, type[MmioDevice]] = {
    "aclint-mtimer": Mtimer,
    "aclint-sswi": Sswi,
    "acpi-power": AcpiPower,
    "cmos": Cmos,
    "generation-id": GenerationId,
    "goldfish-rtc": GoldfishRtc,
    "i8042": I8042,
    "pci-ecam": Ecam,
    "pci-ports": ConfigPorts,
    "pci-window": Window,
    "plic": Plic,
    "pvpanic": Pvpanic,
    "serial-16550a": Serial16550,
    "syscon": Syscon,
    "virtio-mmio": VirtioMmio,
}
"""Devices on the physical address bus, and on a PC's ports."""

VIRTIO_DEVICES: dict[str, type[VirtioDevice]] = {
    "balloon": VirtioBalloon,
    "block": VirtioBlock,
    "console": VirtioConsole,
    "fs": VirtioFs,
    "net": VirtioNet,
    "rng": VirtioRng,
    "vsock": VirtioVsock,
}
"""Devices behind a virtio transport."""
