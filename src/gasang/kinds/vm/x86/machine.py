"""An x86-64 virtual machine: the KVM machine, the board, and a kernel placed and entered, or a saved state."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from gasang.accel.kvm.dirty import Stores
from gasang.accel.kvm.long_mode import enter_long_mode, tables_size, write_tables
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.protected_mode import enter_protected_mode
from gasang.accel.kvm.rings import ENTRIES
from gasang.accel.kvm.state import set_cpuid
from gasang.accel.kvm.system import Kvm
from gasang.core.errors import StateError, UsageError
from gasang.core.protocols import IrqLine, State
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.pump.pump import Area, pump_for
from gasang.kinds.vm.base import Machine
from gasang.kinds.vm.parts import Parts
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.acpi import tables
from gasang.kinds.vm.x86.board import PcBoard, Wires
from gasang.kinds.vm.x86.boot_parameters import boot_parameters, command_line, memory_map
from gasang.kinds.vm.x86.cpuid import cpuid_for
from gasang.kinds.vm.x86.kernel import PcKernel, Protocol
from gasang.kinds.vm.x86.pvh import start_info

NEEDED: Final = ("IRQCHIP", "PIT2", "SIGNAL_MSI", "ADJUST_CLOCK", "XSAVE")
"""What the board asks of the host's KVM, beside what any machine does (accel/kvm/system.py)."""
_MAPPED: Final = 4
"""GiB that the first page tables map: the kernel, its parameters and the initrd lie below."""
_STACK: Final = 0x8FF0
_RESET: Final = b"\xb0" + bytes([layout.RESET_VALUE]) + b"\xba" + layout.RESET_PORT.to_bytes(2, "little") + b"\xee\xf4\xeb\xfd"
"""All there is of a firmware: mov al, RESET_VALUE; mov dx, RESET_PORT; out dx, al; again: hlt; jmp again."""


@dataclass
class PcParts(Parts[PcKernel]):
    """`virtio` devices are behind virtio-mmio, those in `pci` behind virtio-pci."""

    pci: Sequence[VirtioDevice] = field(default_factory=tuple)


@dataclass(frozen=True)
class _Line:
    """A pin of the I/O APIC (core.protocols.IrqLine)."""

    machine: KvmMachine
    pin: int

    def set(self, level: bool) -> None:
        """Drive it."""
        self.machine.interrupt(self.pin, level)


class PcMachine(Machine[KvmMachine, PcBoard]):
    """A machine under KVM. Raises RefusedError where the host's KVM refuses, UsageError for what does not fit."""

    architecture: ClassVar[str] = "amd64"

    def __init__(self, kvm: Kvm, parts: PcParts) -> None:
        ring = 0 if kvm.emulator else ENTRIES
        super().__init__(KvmMachine(kvm, Shape(layout.ram_ranges(parts.memory), parts.cpus, ring=ring)), parts)
        self._kernel = parts.kernel
        self._msrs = kvm.msrs()
        self._of_twin: State = {}
        self._stores: Stores | None = None
        try:
            self._assemble(kvm, parts)
        except BaseException:
            self.machine.close()
            raise

    def _assemble(self, kvm: Kvm, parts: PcParts) -> None:
        machine = self.machine
        machine.on_power = self._power_request
        machine.bells.refused = machine.messages.refused = self._warn
        memory = machine.ram.memory.address
        machine.bells.pump = pump_for([Area(part.base, part.size, memory + part.offset) for part in machine.ram.ranges])
        messages = machine.messages
        wires = Wires(
            self._line, self._power_request, parts.serial, self._device_failed, messages.send, messages.event_of, machine.bells
        )  # fmt: skip
        self.board = PcBoard(machine.bus, machine.ports, machine.ram, wires, parts.virtio, parts.pci, cpus=parts.cpus)
        messages.before_settling = self.board.take_back
        leaves = kvm.cpuid()
        for vcpu in machine.vcpus:
            set_cpuid(vcpu, cpuid_for(leaves, vcpu.number, parts.cpus))
        if parts.kernel is not None:
            self._place(parts, parts.kernel)

    def _line(self, pin: int) -> IrqLine:
        return _Line(self.machine, pin)

    def _place(self, parts: PcParts, kernel: PcKernel) -> None:
        """Kernel where it wants to be, initrd as high as it may be, what both are told below 1 MiB."""
        ram = self.machine.ram
        low = min(ram.ranges[0].size, kernel.initrd_limit + 1)
        address = (low - len(parts.initrd)) & ~(layout.PAGE - 1)
        if kernel.end > address:
            needed = (kernel.end + len(parts.initrd) + (64 << 20)) >> 20
            raise UsageError(f"{parts.memory >> 20} MiB of memory", "kernel and initrd do not fit", f"give at least --memory {needed}M")
        for piece in kernel.pieces:
            ram.write(piece.address, piece.data)
        if parts.initrd:
            ram.write(address, parts.initrd)
        ram.write(layout.COMMAND_LINE, command_line(kernel, parts.append))
        described, rsdp = tables(self.board.described(), layout.ACPI_TABLES)
        assert layout.ACPI_TABLES + len(described) <= layout.GENERATION
        ram.write(layout.ACPI_TABLES, described)
        ram.write(layout.GENERATION, os.urandom(layout.GENERATION_SIZE))
        ram.write(layout.RESET_VECTOR, _RESET)
        initrd = (address, len(parts.initrd)) if parts.initrd else None
        areas = memory_map([(part.base, part.size) for part in ram.ranges])
        if kernel.protocol is Protocol.PVH:
            page = start_info(layout.BOOT_PARAMETERS, areas, rsdp, initrd)
        else:
            page = boot_parameters(kernel, areas, rsdp, initrd)
        ram.write(layout.BOOT_PARAMETERS, page)

    def _boot(self) -> None:
        assert self._kernel is not None
        first, entry = self.machine.vcpus[0], self._kernel.entry
        if self._kernel.protocol is Protocol.PVH:
            enter_protected_mode(first, entry, layout.BOOT_PARAMETERS)
        else:
            assert layout.PAGE_TABLES + tables_size(_MAPPED) <= layout.COMMAND_LINE
            write_tables(self.machine.ram, layout.PAGE_TABLES, _MAPPED)
            enter_long_mode(first, layout.PAGE_TABLES, entry, _STACK, layout.BOOT_PARAMETERS)
        self._kernel = None
        self.machine.start()

    def save(self) -> State:
        """All of a machine that does not run but its memory and disks. Raises StateError for one that runs."""
        from gasang.kinds.vm.x86.state import save_machine

        if self.machine.is_begun and not self.machine.paused:
            raise StateError("machine", "its state changes while it runs", "pause it first")
        self.machine.messages.settle()
        return save_machine(self, self._msrs)

    def load(self, state: State) -> None:
        """Become the saved machine, memory being restored already; `start` lets it go on.

        Raises BadInputError for no such state, RefusedError where this host's KVM cannot be it.
        """
        from gasang.kinds.vm.x86.state import load_machine

        load_machine(self, state)
        self.machine.excuse()
        self.is_restored = True
        self._begin = self.machine.start

    def moment(self) -> int | None:
        """From the first snapshot on the kernel notes what vCPUs write, and RAM what devices do."""
        if self._stores is None:
            self._stores = Stores(self.machine.watch())
        return self._stores.moment()

    def written_since(self, moment: int | None) -> Iterable[tuple[int, int]] | None:
        """As Machine has it."""
        if moment is None or self._stores is None:
            return super().written_since(moment)
        return self._stores.since(moment)

    def before_fork(self) -> None:
        """Only the process that made vCPUs may ask them anything: a twin is told what they were."""
        from gasang.kinds.vm.x86.state import save_processors

        self.machine.messages.settle()
        self._of_twin = save_processors(self, self._msrs)

    def _revived(self) -> None:
        from gasang.kinds.vm.x86.state import load_processors

        if self._stores is not None:
            self._stores.close()
            self._stores = None
        self.machine.renew()
        load_processors(self, self._of_twin)
        self._begin = self.machine.start
