"""The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): one device behind a window of registers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from gasang.core.protocols import GuestMemory, IrqLine, State
from gasang.devices.lock import Lock
from gasang.devices.virtio.bell import Place
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.queue import Virtqueue
from gasang.devices.virtio.transport import NEEDS_RESET, WORD, Transport

MAGIC, VERSION = 0x74726976, 2
VENDOR = 0x474E5347
QUEUE_NOTIFY = 0x050
CONFIG = 0x100


class VirtioMmio(Transport):
    """The registers of `device`, and one level-triggered interrupt."""

    size = 0x1000
    name = "virtio-mmio transport"

    def __init__(
        self,
        device: VirtioDevice,
        memory: GuestMemory,
        irq: IrqLine,
        lock: Lock,
        on_fault: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        super().__init__(device, memory, lock, on_fault)
        self._irq = irq
        self.base: int | None = None
        """Where the window is in the guest's memory, for those who need to know."""

    # The guest's side.

    def read(self, offset: int, width: int) -> int:
        """A 32-bit register, or any aligned part of the configuration space; the rest reads as zero."""
        if offset >= CONFIG:
            return self._config(offset - CONFIG, width)
        handler = self._READS.get(offset)
        return handler(self) if handler and width == 4 else 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Take a store to a 32-bit register, or to any aligned part of the configuration space."""
        if offset >= CONFIG:
            self._write_config(offset - CONFIG, width, value)
            return
        handler = self._WRITES.get(offset)
        if handler and width == 4:
            handler(self, value)

    def reset(self) -> None:
        """The state at power-on."""
        self._reset()

    def save(self) -> State:
        """Registers, queues and the device's own state."""
        return self._save()

    def load(self, state: State) -> None:
        """Become the saved transport and device. Guest memory is restored already; a running device goes on at once."""
        self._load(state, lambda: self._irq.set(self._interrupt != 0))

    # The interrupt.

    def _tell(self, event: int, queue: Virtqueue | None) -> None:
        self._interrupt |= event
        self._irq.set(True)

    def _quiet(self) -> None:
        self._irq.set(False)

    # Notifications.

    def _place(self, index: int) -> Place | None:
        return None if self.base is None else Place(self.base + QUEUE_NOTIFY, 4, index)

    # Registers, one function an access.

    def _read_queue_max(self) -> int:
        queue = self._queue()
        return queue.max_size if queue else 0

    def _write_queue_ready(self, value: int) -> None:
        queue = self._queue()
        if value & 1:
            self._enable_queue()
        elif queue and not self._status & NEEDS_RESET:
            queue.disable()

    def _write_interrupt_ack(self, value: int) -> None:
        self._interrupt &= ~value
        self._irq.set(self._interrupt != 0)

    _READS: ClassVar[Mapping[int, Callable[[VirtioMmio], int]]] = {
        0x000: lambda self: MAGIC,
        0x004: lambda self: VERSION,
        0x008: lambda self: self.device.device_id,
        0x00C: lambda self: VENDOR,
        0x010: Transport._read_device_features,
        0x034: _read_queue_max,
        0x044: Transport._read_queue_ready,
        0x060: lambda self: self._interrupt,
        0x070: lambda self: self._status,
        # No shared memory regions: their length and base read as all ones.
        0x0B0: lambda self: WORD,
        0x0B4: lambda self: WORD,
        0x0B8: lambda self: WORD,
        0x0BC: lambda self: WORD,
        0x0FC: lambda self: self._generation,
    }
    _WRITES: ClassVar[Mapping[int, Callable[[VirtioMmio, int], None]]] = {
        0x014: Transport._write_device_features_word,
        0x020: Transport._write_driver_features,
        0x024: Transport._write_driver_features_word,
        0x030: Transport._write_selected,
        0x038: Transport._write_queue_size,
        0x044: _write_queue_ready,
        QUEUE_NOTIFY: Transport._notify,
        0x064: _write_interrupt_ack,
        0x070: Transport._write_status,
        0x080: lambda self, value: self._write_area("descriptor_area", 0, value),
        0x084: lambda self, value: self._write_area("descriptor_area", 32, value),
        0x090: lambda self, value: self._write_area("driver_area", 0, value),
        0x094: lambda self, value: self._write_area("driver_area", 32, value),
        0x0A0: lambda self, value: self._write_area("device_area", 0, value),
        0x0A4: lambda self, value: self._write_area("device_area", 32, value),
    }
