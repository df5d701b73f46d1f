"""Where everything lies in an x86-64 machine's physical address space.

0x0000_0000  RAM up to 640 KiB: boot parameters, page tables, command line
0x000e_0000  ACPI tables, and a reset vector at their end (RAM that the kernel is told not to use)
0x0010_0000  RAM up to the hole
0xc000_0000  the hole: virtio-mmio windows, PCI windows and configuration space, I/O APIC, local APICs
0x1_0000_0000  the rest of RAM
"""

from __future__ import annotations

from typing import Final

MIB: Final = 1 << 20
GIB: Final = 1 << 30
PAGE: Final = 4096

BOOT_PARAMETERS: Final = 0x7000
PAGE_TABLES: Final = 0x9000
COMMAND_LINE: Final = 0x2_0000
LOW_END: Final = 0x9_FC00
"""Where RAM below 1 MiB ends, as on every PC."""
ACPI_TABLES: Final = 0xE_0000
GENERATION: Final = 0xF_F000
"""The VM generation ID's bytes: RAM, so that they are saved with it and each reads them where they are."""
GENERATION_SIZE: Final = 16
RESET_VECTOR: Final = 0xF_FFF0
"""Where a PC's firmware begins in real mode, and where kernels jump that know no other way to reboot."""
HIGH: Final = 0x10_0000

HOLE: Final = 0xC000_0000
HOLE_END: Final = 4 * GIB
VIRTIO_BASE: Final = 0xC000_0000
PCI_WINDOW: Final = 0xC100_0000
PCI_WINDOW_SIZE: Final = 0x1F00_0000
ECAM_BASE: Final = 0xE000_0000
ECAM_SIZE: Final = 1 << 20
"""Configuration space of one PCI bus."""
IOAPIC_BASE: Final = 0xFEC0_0000
LAPIC_BASE: Final = 0xFEE0_0000

PCI_PORTS: Final = 0xCF8
"""Configuration space's address and data."""
GENERATION_IRQ: Final = 3
"""Of the event device that tells of another generation ID."""
PVPANIC_PORT: Final = 0x505
SERIAL_PORT: Final = 0x3F8
SERIAL_IRQ: Final = 4
RTC_PORT: Final = 0x70
RTC_IRQ: Final = 8
I8042_PORT: Final = 0x60
SLEEP_PORT: Final = 0x600
"""ACPI's sleep control and sleep status, a byte each; the reset register is behind them."""
RESET_PORT: Final = 0x602
RESET_VALUE: Final = 1
SLEEP_TYPE_OFF: Final = 5
"""What the kernel writes to sleep control (shifted, with SLP_EN) for a power-off; our own number, told by \\_S5."""


def ram_ranges(size: int) -> tuple[tuple[int, int], ...]:
    """(base, bytes) of the RAM of a machine with so much of it."""
    low = min(size, HOLE)
    return ((0, low),) if size <= HOLE else ((0, low), (HOLE_END, size - low))
