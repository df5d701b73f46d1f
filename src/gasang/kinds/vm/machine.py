"""A riscv64 virtual machine: the software machine, the virt board, firmware, and a loaded kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from gasang.accel.soft.machine import SoftMachine
from gasang.core.errors import UsageError
from gasang.core.protocols import CharacterSink
from gasang.devices.syscon import PowerRequest
from gasang.devices.virtio.device import VirtioDevice
from gasang.kinds.vm.board import RAM_BASE, BoardConfig, VirtBoard, Wires
from gasang.kinds.vm.loader import Kernel
from gasang.kinds.vm.sbi import Sbi

EXTENSIONS = (
    "i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zicntr", "zba", "zbb", "zbs", "zicbom", "zicboz", "sstc",
)  # fmt: skip
"""What cpus/riscv64 has, as the device tree announces it."""

DEVICE_TREE_SPACE = 2 << 20
PAGE = 4096


@dataclass
class Parts:
    """What a machine is put together from."""

    cpus: int
    memory: int
    kernel: Kernel
    initrd: bytes
    append: str
    serial: CharacterSink
    virtio: Sequence[VirtioDevice] = field(default_factory=tuple)


class VirtualMachine:
    """Started once, ended once. `power` holds the guest's last power request."""

    def __init__(self, parts: Parts) -> None:
        self.machine = SoftMachine(RAM_BASE, parts.memory, parts.cpus)
        self.power: PowerRequest | None = None
        self.ended = threading.Event()
        machine = self.machine
        wires = Wires([hart.external_interrupt for hart in machine.harts], self._power_request, parts.serial)
        self.board = VirtBoard(BoardConfig(parts.cpus, parts.memory, EXTENSIONS), machine.ram, wires, parts.virtio)
        machine.bus = self.board.bus
        machine.firmware = Sbi(machine, parts.serial, self._typed, self._power_request)
        self._entry, self._tree = self._place(parts)

    def _place(self, parts: Parts) -> tuple[int, int]:
        """Kernel low, initrd and device tree at the top of memory. (entry, address of the device tree)."""
        ram = self.machine.ram
        top = RAM_BASE + parts.memory
        tree_address = (top - DEVICE_TREE_SPACE) & ~(DEVICE_TREE_SPACE - 1)
        initrd_address = (tree_address - len(parts.initrd)) & ~(PAGE - 1)
        lowest = min(piece.address for piece in parts.kernel.pieces)
        if lowest < RAM_BASE or parts.kernel.end > initrd_address:
            needed = (parts.kernel.end - RAM_BASE + len(parts.initrd) + 2 * DEVICE_TREE_SPACE + (64 << 20)) >> 20
            raise UsageError(f"{parts.memory >> 20} MiB of memory", "kernel and initrd do not fit", f"give at least --memory {needed}M")
        for piece in parts.kernel.pieces:
            ram.write(piece.address, piece.data)
        if parts.initrd:
            ram.write(initrd_address, parts.initrd)
        initrd = (initrd_address, initrd_address + len(parts.initrd)) if parts.initrd else None
        ram.write(tree_address, self.board.device_tree(parts.append, initrd, os.urandom(64)))
        return parts.kernel.entry, tree_address

    def _typed(self, length: int) -> bytes:
        with self.board.bus.lock:
            return self.board.serial.take(length)

    def _power_request(self, request: PowerRequest) -> None:
        self.power = request
        self.machine.stop()
        self.ended.set()

    def start(self) -> None:
        """Begin execution."""
        self.machine.start(self._entry, self._tree)

    def stop(self) -> None:
        """End the machine from outside."""
        self.machine.stop()
        self.ended.set()

    def join(self) -> None:
        """Wait for the machine's end. Raises what ended it by accident."""
        self.machine.join()
        self.ended.set()
