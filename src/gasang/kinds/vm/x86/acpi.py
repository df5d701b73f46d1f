"""The ACPI tables of the board, hardware-reduced: no PM timer, no SCI, no legacy (ACPI 6.5, chapters 5 and 4.8).

One description (`Described`) becomes all tables; they lie one behind the other from a given address.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from gasang.kinds.vm.x86 import aml, layout

OEM: Final = b"GASANG"
OEM_TABLE: Final = b"GASANGPC"
CREATOR: Final = b"GSNG"
_HEADER: Final = struct.Struct("<4sIBB6s8sI4sI")

HW_REDUCED: Final = 1 << 20
RESET_SUPPORTED: Final = 1 << 10
_NO_VGA: Final = 1 << 2
_NO_CMOS: Final = 1 << 5
_SYSTEM_IO: Final = 1
_BYTE: Final = 1
_GENERATION: Final = "VGEN"
_CHANGED: Final = 0x80
"""The first notification that is a device's own to define (5.6.6)."""


@dataclass(frozen=True)
class Window:
    """A virtio-mmio window: its physical address, bytes, and interrupt."""

    base: int
    size: int
    irq: int


@dataclass(frozen=True)
class Described:
    """What the tables tell of. `generation_id` is the physical address of the VM generation ID's 16 bytes, None without one."""

    cpus: int
    windows: tuple[Window, ...] = field(default_factory=tuple)
    has_pci: bool = False
    generation_id: int | None = None
    has_cmos: bool = True
    has_pvpanic: bool = False


def tables(described: Described, address: int) -> tuple[bytes, int]:
    """The tables as they lie from `address` (a multiple of 64) on, and the address of the root pointer among them."""
    placed = bytearray()

    def put(data: bytes) -> int:
        placed.extend(b"\0" * (-len(placed) % 64))
        placed.extend(data)
        return address + len(placed) - len(data)

    dsdt = put(_table(b"DSDT", 2, _devices(described)))
    entries = [put(_fadt(described, dsdt)), put(_madt(described.cpus))]
    if described.has_pci:
        entries.append(put(_mcfg()))
    xsdt = put(_table(b"XSDT", 1, struct.pack(f"<{len(entries)}Q", *entries)))
    return bytes(placed + b"\0" * (-len(placed) % 64) + _root(xsdt)), address + len(placed) + (-len(placed) % 64)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    header = _HEADER.pack(signature, _HEADER.size + len(body), revision, 0, OEM, OEM_TABLE, 1, CREATOR, 1)
    data = bytearray(header + body)
    data[9] = -sum(data) & 0xFF
    return bytes(data)


def _root(xsdt: int) -> bytes:
    """The root system description pointer, version 2 (5.2.5.3)."""
    data = bytearray(struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, OEM, 2, 0, 36, xsdt, 0))
    data[8] = -sum(data[:20]) & 0xFF
    data[32] = -sum(data) & 0xFF
    return bytes(data)


def _port(number: int) -> bytes:
    """A generic address: one byte-wide port (5.2.3.2)."""
    return struct.pack("<BBBBQ", _SYSTEM_IO, 8, 0, _BYTE, number)


def _fadt(described: Described, dsdt: int) -> bytes:
    """The fixed description, revision 6.5 (5.2.9)."""
    body = bytearray(276 - _HEADER.size)

    def put(offset: int, data: bytes) -> None:
        body[offset - _HEADER.size : offset - _HEADER.size + len(data)] = data

    put(109, struct.pack("<H", _NO_VGA | (0 if described.has_cmos else _NO_CMOS)))
    put(112, struct.pack("<I", HW_REDUCED | RESET_SUPPORTED))
    put(116, _port(layout.RESET_PORT))
    put(128, bytes([layout.RESET_VALUE]))
    put(131, b"\x05")
    put(140, struct.pack("<Q", dsdt))
    put(244, _port(layout.SLEEP_PORT))
    put(256, _port(layout.SLEEP_PORT + 1))
    put(268, b"GASANG\0\0")
    return _table(b"FACP", 6, bytes(body))


def _madt(cpus: int) -> bytes:
    """Local APICs, the I/O APIC, and where ISA interrupts lead (5.2.12)."""
    body = struct.pack("<II", layout.LAPIC_BASE, 1)  # an 8259 is there too
    for number in range(cpus):
        body += struct.pack("<BBBBI", 0, 8, number, number, 1) if number < 255 else struct.pack("<BBHIII", 9, 16, 0, number, 1, number)
    body += struct.pack("<BBBBII", 1, 12, 0, 0, layout.IOAPIC_BASE, 0)
    body += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)  # the timer is on pin 2
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)  # NMI on LINT1
    return _table(b"APIC", 5, body)


def _mcfg() -> bytes:
    """Where PCI configuration space lies (PCI Firmware 3.3, 4.1.2)."""
    return _table(b"MCFG", 1, struct.pack("<8xQHBB4x", layout.ECAM_BASE, 0, 0, layout.ECAM_SIZE // (1 << 20) - 1))


def _devices(described: Described) -> bytes:
    parts = [_serial(), *(_virtio(number, window) for number, window in enumerate(described.windows))]
    if described.has_cmos:
        parts.append(_clock())
    if described.has_pci:
        parts.append(_pci())
    if described.generation_id is not None:
        parts += [_generation(described.generation_id), _events()]
    if described.has_pvpanic:
        parts.append(_pvpanic())
    off = aml.package([aml.integer(layout.SLEEP_TYPE_OFF), aml.integer(0), aml.integer(0), aml.integer(0)])
    return aml.named("\\_S5", off) + aml.scope("\\_SB", *parts)


def _serial() -> bytes:
    return aml.device(
        "COM1",
        aml.named("_HID", aml.eisa_id("PNP0501")),
        aml.named("_UID", aml.integer(1)),
        aml.named("_STA", aml.integer(aml.ALWAYS)),
        aml.named("_CRS", aml.resources(aml.ports(layout.SERIAL_PORT, 8), aml.interrupt(layout.SERIAL_IRQ, edge=True))),
    )


def _clock() -> bytes:
    return aml.device(
        "RTC",
        aml.named("_HID", aml.eisa_id("PNP0B00")),
        aml.named("_STA", aml.integer(aml.ALWAYS)),
        aml.named("_CRS", aml.resources(aml.ports(layout.RTC_PORT, 2), aml.interrupt(layout.RTC_IRQ, edge=True))),
    )


def _virtio(number: int, window: Window) -> bytes:
    """A virtio-mmio window, by the id that Linux's driver knows it by."""
    return aml.device(
        f"VR{number:02X}",
        aml.named("_HID", aml.string("LNRO0005")),
        aml.named("_UID", aml.integer(number)),
        aml.named("_CCA", aml.integer(1)),
        aml.named("_STA", aml.integer(aml.ALWAYS)),
        aml.named("_CRS", aml.resources(aml.memory(window.base, window.size), aml.interrupt(window.irq))),
    )


def _pci() -> bytes:
    """A PCI Express root with one bus, its windows, and the configuration space reserved."""
    buses = aml.bus_numbers(0, layout.ECAM_SIZE // (1 << 20) - 1)
    root = aml.device(
        "PCI0",
        aml.named("_HID", aml.eisa_id("PNP0A08")),
        aml.named("_CID", aml.eisa_id("PNP0A03")),
        aml.named("_SEG", aml.integer(0)),
        aml.named("_BBN", aml.integer(0)),
        aml.named("_UID", aml.integer(0)),
        aml.named("_CCA", aml.integer(1)),
        aml.named("_CRS", aml.resources(buses, aml.memory_window(layout.PCI_WINDOW, layout.PCI_WINDOW_SIZE))),
    )
    reserved = aml.device(
        "ECAM",
        aml.named("_HID", aml.eisa_id("PNP0C02")),
        aml.named("_CRS", aml.resources(aml.memory(layout.ECAM_BASE, layout.ECAM_SIZE))),
    )
    return root + reserved


def _pvpanic() -> bytes:
    """The port on which a guest tells that its kernel has panicked, by the id that Linux's driver knows it by."""
    return aml.device(
        "PEVT",
        aml.named("_HID", aml.string("QEMU0001")),
        aml.named("_STA", aml.integer(aml.ALWAYS)),
        aml.named("_CRS", aml.resources(aml.ports(layout.PVPANIC_PORT, 1))),
    )


def _generation(address: int) -> bytes:
    """The VM generation ID ("Virtual Machine Generation ID", Microsoft 2012): ADDR tells where its bytes lie."""
    where = aml.package([aml.integer(address & 0xFFFF_FFFF), aml.integer(address >> 32)])
    return aml.device(
        _GENERATION,
        aml.named("_HID", aml.string("GSNG0001")),
        aml.named("_CID", aml.package([aml.string("VM_Gen_Counter"), aml.string("VMGENCTR")])),
        aml.named("_DDN", aml.string("VM_Gen_Counter")),
        aml.named("ADDR", where),
    )


def _events() -> bytes:
    """The generic event device (5.6.9): its one interrupt means that the generation ID is another."""
    return aml.device(
        "GED",
        aml.named("_HID", aml.string("ACPI0013")),
        aml.named("_CRS", aml.resources(aml.interrupt(layout.GENERATION_IRQ, edge=True))),
        aml.method("_EVT", 1, aml.notify(f"\\_SB.{_GENERATION}", _CHANGED)),
    )
