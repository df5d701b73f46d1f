"""An x86-64 virtual machine: the KVM machine, the board, and a kernel placed and entered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gasang.accel.kvm.long_mode import enter_long_mode, tables_size, write_tables
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.state import set_cpuid
from gasang.accel.kvm.system import Kvm
from gasang.core.errors import UsageError
from gasang.core.protocols import CharacterSink, IrqLine
from gasang.devices.syscon import PowerRequest
from gasang.devices.virtio.device import VirtioDevice
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.acpi import tables
from gasang.kinds.vm.x86.board import PcBoard, Wires
from gasang.kinds.vm.x86.boot_parameters import boot_parameters, command_line, memory_map
from gasang.kinds.vm.x86.bzimage import BzImage
from gasang.kinds.vm.x86.cpuid import cpuid_for

_MAPPED: Final = 4
"""GiB that the first page tables map: the kernel, its parameters and the initrd lie below."""
_STACK: Final = 0x8FF0
_RESET: Final = b"\xb0" + bytes([layout.RESET_VALUE]) + b"\xba" + layout.RESET_PORT.to_bytes(2, "little") + b"\xee\xf4\xeb\xfd"
"""All there is of a firmware: mov al, RESET_VALUE; mov dx, RESET_PORT; out dx, al; again: hlt; jmp again."""


@dataclass
class Parts:
    """What a machine is put together from; `memory` in bytes."""

    cpus: int
    memory: int
    kernel: BzImage
    initrd: bytes
    append: str
    serial: CharacterSink
    virtio: Sequence[VirtioDevice] = field(default_factory=tuple)
    """Behind virtio-mmio."""
    pci: Sequence[VirtioDevice] = field(default_factory=tuple)
    """Behind virtio-pci."""
    warn: Callable[[str], None] = field(default=lambda sentence: None)


@dataclass(frozen=True)
class _Line:
    """A pin of the I/O APIC (core.protocols.IrqLine)."""

    machine: KvmMachine
    pin: int

    def set(self, level: bool) -> None:
        """Drive it."""
        self.machine.interrupt(self.pin, level)


class PcMachine:
    """Started once, ended once, then closed. `power` holds the guest's last power request."""

    def __init__(self, kvm: Kvm, parts: Parts) -> None:
        self.machine = KvmMachine(kvm, Shape(layout.ram_ranges(parts.memory), parts.cpus))
        self.power: PowerRequest | None = None
        self.ended = threading.Event()
        try:
            self._assemble(kvm, parts)
        except BaseException:
            self.machine.close()
            raise

    def _assemble(self, kvm: Kvm, parts: Parts) -> None:
        machine = self.machine
        machine.on_power = self._power_request

        def told(sentence: str) -> None:
            parts.warn(f"{sentence}; it stands still until the guest resets it")

        wires = Wires(self._line, self._power_request, parts.serial, told, machine.message)
        self.board = PcBoard(machine.bus, machine.ports, machine.ram, wires, parts.virtio, parts.pci)
        leaves = kvm.cpuid()
        for vcpu in machine.vcpus:
            set_cpuid(vcpu, cpuid_for(leaves, vcpu.number, parts.cpus))
        self._place(parts)
        enter_long_mode(machine.vcpus[0], layout.PAGE_TABLES, parts.kernel.kernel.entry, _STACK, layout.BOOT_PARAMETERS)

    def _line(self, pin: int) -> IrqLine:
        return _Line(self.machine, pin)

    def _place(self, parts: Parts) -> None:
        ram, image = self.machine.ram, parts.kernel
        low = min(ram.ranges[0].size, image.initrd_limit + 1)
        address = (low - len(parts.initrd)) & ~(layout.PAGE - 1)
        if image.kernel.end > address:
            needed = (image.kernel.end + len(parts.initrd) + (64 << 20)) >> 20
            raise UsageError(f"{parts.memory >> 20} MiB of memory", "kernel and initrd do not fit", f"give at least --memory {needed}M")
        for piece in image.kernel.pieces:
            ram.write(piece.address, piece.data)
        if parts.initrd:
            ram.write(address, parts.initrd)
        ram.write(layout.COMMAND_LINE, command_line(image, parts.append))
        described, rsdp = tables(self.board.described(parts.cpus), layout.ACPI_TABLES)
        assert layout.ACPI_TABLES + len(described) <= layout.RESET_VECTOR
        ram.write(layout.ACPI_TABLES, described)
        ram.write(layout.RESET_VECTOR, _RESET)
        initrd = (address, len(parts.initrd)) if parts.initrd else None
        areas = memory_map([(part.base, part.size) for part in ram.ranges])
        ram.write(layout.BOOT_PARAMETERS, boot_parameters(image, areas, rsdp, initrd))
        assert layout.PAGE_TABLES + tables_size(_MAPPED) <= layout.COMMAND_LINE
        write_tables(ram, layout.PAGE_TABLES, _MAPPED)

    def _power_request(self, request: PowerRequest) -> None:
        self.power = request
        self.machine.stop()
        self.ended.set()

    def start(self) -> None:
        """Begin execution."""
        self.machine.start()

    def pause(self) -> None:
        """Have all vCPUs stand still; returns when they do."""
        self.machine.pause()

    def resume(self) -> None:
        """Let them run on."""
        self.machine.resume()

    def stop(self) -> None:
        """End the machine from outside."""
        self.machine.stop()
        self.ended.set()

    def join(self) -> None:
        """Wait for the machine's end. Raises what ended it by accident."""
        self.machine.join()
        self.ended.set()

    def close(self) -> None:
        """Give everything back; the vCPUs' threads have ended."""
        self.board.reset()
        self.machine.close()
