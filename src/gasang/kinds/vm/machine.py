"""A riscv64 virtual machine: the software machine, the virt board, firmware, and a loaded kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

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
    warn: Callable[[str], None] = field(default=lambda sentence: None)
    """Hears what goes wrong in the machine without ending it: a sentence each, from any thread."""


class VirtualMachine:
    """Started once, ended once, then closed: use it as a context manager. `power` holds the guest's last power request."""

    def __init__(self, parts: Parts) -> None:
        self.machine = SoftMachine(RAM_BASE, parts.memory, parts.cpus)
        self.power: PowerRequest | None = None
        self.ended = threading.Event()
        self._closed = False
        try:
            self._entry, self._tree = self._assemble(parts)
        except BaseException:
            self.machine.close()
            raise

    def _assemble(self, parts: Parts) -> tuple[int, int]:
        """Connect board and firmware, and place the kernel. (entry, address of the device tree)."""
        machine = self.machine
        interrupts = [hart.external_interrupt for hart in machine.harts]
        wires = Wires(interrupts, self._power_request, parts.serial, on_fault=self._device_failed)
        self._warn = parts.warn
        self.board = VirtBoard(BoardConfig(parts.cpus, parts.memory, EXTENSIONS), machine.ram, wires, parts.virtio)
        machine.bus = self.board.bus
        machine.firmware = Sbi(machine, parts.serial, self._typed, self._power_request)
        return self._place(parts)

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

    def _device_failed(self, sentence: str) -> None:
        self._warn(f"{sentence}; it stands still until the guest resets it")

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

    def close(self) -> None:
        """End the machine if it runs and give its memory back; what the devices are connected to stays open. Twice is once."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self.wait_for_harts()
        self.board.reset()  # the devices let go of guest memory
        self.machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def wait_for_harts(self) -> None:
        """Return when no hart's thread runs any more, whatever ended them; `stop` was called."""
        for hart in self.machine.harts:
            if hart.thread is not None and hart.thread.ident is not None:
                hart.thread.join()
