"""What the registers of each device are called in its own manual: for people who read a trace.

A row of REGISTERS is a device and a function from an offset and the access's direction to a name, "" where the device has no register.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gasang.core.protocols import MmioDevice
from gasang.devices.aclint import MTIME, Mtimer, Sswi
from gasang.devices.acpi_power import RESET, SLEEP_CONTROL, SLEEP_STATUS, AcpiPower
from gasang.devices.cmos import DATA, INDEX, Cmos
from gasang.devices.generation_id import LENGTH, GenerationId
from gasang.devices.goldfish_rtc import GoldfishRtc
from gasang.devices.i8042 import COMMAND, I8042
from gasang.devices.pci.config import SIZE
from gasang.devices.pci.host import ConfigPorts, Ecam, Window
from gasang.devices.plic import CONTEXT, CONTEXT_STRIDE, ENABLE, ENABLE_STRIDE, PENDING, Plic
from gasang.devices.pvpanic import Pvpanic
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import Syscon
from gasang.devices.virtio.mmio import CONFIG, VirtioMmio

Namer = Callable[[int, bool], str]
"""Offset and whether it is a write, to a name."""

_SERIAL_READ = ("RBR/DLL", "IER/DLM", "IIR", "LCR", "MCR", "LSR", "MSR", "SCR")
_SERIAL_WRITE = ("THR/DLL", "IER/DLM", "FCR", "LCR", "MCR", "LSR", "MSR", "SCR")
_RTC = {
    0x00: "TIME_LOW", 0x04: "TIME_HIGH", 0x08: "ALARM_LOW", 0x0C: "ALARM_HIGH", 0x10: "IRQ_ENABLED", 0x14: "CLEAR_ALARM",
    0x18: "ALARM_STATUS", 0x1C: "CLEAR_INTERRUPT",
}  # fmt: skip
_VIRTIO = {
    0x00: "MagicValue", 0x04: "Version", 0x08: "DeviceID", 0x0C: "VendorID", 0x10: "DeviceFeatures", 0x14: "DeviceFeaturesSel",
    0x20: "DriverFeatures", 0x24: "DriverFeaturesSel", 0x30: "QueueSel", 0x34: "QueueNumMax", 0x38: "QueueNum", 0x44: "QueueReady",
    0x50: "QueueNotify", 0x60: "InterruptStatus", 0x64: "InterruptACK", 0x70: "Status", 0x80: "QueueDescLow", 0x84: "QueueDescHigh",
    0x90: "QueueDriverLow", 0x94: "QueueDriverHigh", 0xA0: "QueueDeviceLow", 0xA4: "QueueDeviceHigh", 0xAC: "SHMSel", 0xB0: "SHMLenLow",
    0xB4: "SHMLenHigh", 0xB8: "SHMBaseLow", 0xBC: "SHMBaseHigh", 0xC0: "QueueReset", 0xFC: "ConfigGeneration",
}  # fmt: skip
"""virtio 1.2, 4.2.2."""


def _serial(offset: int, is_write: bool) -> str:
    names = _SERIAL_WRITE if is_write else _SERIAL_READ
    return names[offset] if offset < len(names) else ""


def _plic(offset: int, is_write: bool) -> str:
    if offset < PENDING:
        return f"priority of source {offset // 4}"
    if offset < ENABLE:
        return f"pending of sources {(offset - PENDING) * 8} to {(offset - PENDING) * 8 + 31}"
    if offset < CONTEXT:
        context, word = divmod(offset - ENABLE, ENABLE_STRIDE)
        return f"enable of context {context}, sources {word * 8} to {word * 8 + 31}"
    context, register = divmod(offset - CONTEXT, CONTEXT_STRIDE)
    name = {0: "threshold", 4: "complete" if is_write else "claim"}.get(register)
    return f"{name} of context {context}" if name else ""


def _virtio(offset: int, is_write: bool) -> str:
    return f"Config+{offset - CONFIG:#x}" if offset >= CONFIG else _VIRTIO.get(offset, "")


def _mtimer(offset: int, is_write: bool) -> str:
    return "MTIME" if offset >= MTIME else f"MTIMECMP of hart {offset // 8}"


def _fixed(names: Mapping[int, str]) -> Namer:
    return lambda offset, is_write: names.get(offset, "")


REGISTERS: dict[type[MmioDevice], Namer] = {
    Pvpanic: _fixed({0: "EVENTS"}),
    AcpiPower: _fixed({SLEEP_CONTROL: "SLEEP_CONTROL_REG", SLEEP_STATUS: "SLEEP_STATUS_REG", RESET: "RESET_REG"}),
    Cmos: _fixed({INDEX: "index", DATA: "data"}),
    GenerationId: lambda offset, is_write: f"byte {offset}" if offset < LENGTH else "",
    GoldfishRtc: _fixed(_RTC),
    I8042: _fixed({0: "data", COMMAND: "command/status"}),
    Mtimer: _mtimer,
    Ecam: lambda offset, is_write: f"slot {offset // (8 * SIZE)}, function {offset // SIZE % 8}, register {offset % SIZE:#x}",
    ConfigPorts: lambda offset, is_write: "CONFIG_ADDRESS" if offset < 4 else "CONFIG_DATA",
    Window: lambda offset, is_write: "",
    Plic: _plic,
    Serial16550: _serial,
    Sswi: lambda offset, is_write: f"SETSSIP of hart {offset // 4}",
    Syscon: _fixed({0: "request"}),
    VirtioMmio: _virtio,
}


def register_name(device: MmioDevice, offset: int, *, is_write: bool) -> str:
    """The register at `offset` bytes into the device's window; "" if it has no name."""
    return REGISTERS[type(device)](offset, is_write)
