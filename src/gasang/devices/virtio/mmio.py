"""The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): one device behind a window of registers.

Nothing the guest writes here raises: what breaks a rule sets DEVICE_NEEDS_RESET (2.1.2) and the device stands still until
the guest resets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from gasang.core.protocols import GuestMemory, IrqLine, State
from gasang.devices.state import check_version
from gasang.devices.virtio.device import EVENT_IDX, TRANSPORT_FEATURES, VERSION_1, VirtioDevice
from gasang.devices.virtio.queue import GUEST_FAULTS, Virtqueue

MAGIC, VERSION = 0x74726976, 2
VENDOR = 0x474E5347
CONFIG = 0x100
WORD = 0xFFFF_FFFF

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
USED_BUFFER, CONFIG_CHANGE = 1, 2


class VirtioMmio:
    """The registers of `device`. It is also the `Link` the device runs on.

    `on_fault` hears, once a reset, what the guest did wrong, in words that do not name the device.
    """

    size = 0x1000

    def __init__(
        self,
        device: VirtioDevice,
        memory: GuestMemory,
        irq: IrqLine,
        lock: threading.RLock,
        on_fault: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.device = device
        self.memory = memory
        self.lock = lock
        self.queues: Sequence[Virtqueue] = [Virtqueue(memory, size) for size in device.queue_sizes]
        self.features = 0
        self._irq = irq
        self._on_fault = on_fault
        self._offered = device.features | TRANSPORT_FEATURES
        self._status = self._interrupt = self._generation = 0
        self._device_features_word = self._driver_features_word = self._selected = 0

    # The guest's side.

    def read(self, offset: int, width: int) -> int:
        """A 32-bit register, or any aligned part of the configuration space; the rest reads as zero."""
        if offset >= CONFIG:
            part = self.device.config()[offset - CONFIG : offset - CONFIG + width]
            return int.from_bytes(part, "little")
        handler = self._READS.get(offset)
        return handler(self) if handler and width == 4 else 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Take a store to a 32-bit register; no device here has a configuration the guest may change."""
        handler = self._WRITES.get(offset)
        if handler and width == 4:
            handler(self, value)

    def reset(self) -> None:
        """The state at power-on, which is also what a guest gets by writing zero to Status."""
        self.device.reset()
        for queue in self.queues:
            queue.reset()
        self.features = 0
        self._status = self._interrupt = 0
        self._device_features_word = self._driver_features_word = self._selected = 0
        self._irq.set(False)

    # The device's side: the Link.

    def used(self, queue: Virtqueue) -> None:
        """Interrupt the guest if it wants to hear of the buffers pushed to `queue`."""
        if queue.wants_interrupt():
            self._raise(USED_BUFFER)

    def config_changed(self) -> None:
        """Advance the generation and tell a running driver."""
        self._generation = (self._generation + 1) & WORD
        if self._status & DRIVER_OK:
            self._raise(CONFIG_CHANGE)

    def serve(self, job: Callable[[], None]) -> None:
        """Run `job` under the bus lock unless the device has stopped or failed; a guest's fault in it fails the device."""
        with self.lock:
            if not self._running():
                return
            try:
                job()
            except GUEST_FAULTS as fault:
                self._fail(str(fault))

    # State.

    def save(self) -> State:
        """Registers, queues and the device's own state."""
        return {
            "version": 1,
            "device_id": self.device.device_id,
            "features": self.features,
            "status": self._status,
            "interrupt": self._interrupt,
            "generation": self._generation,
            "selectors": [self._device_features_word, self._driver_features_word, self._selected],
            "queues": [queue.save() for queue in self.queues],
            "device": self.device.save(),
        }

    def load(self, state: State) -> None:
        """Become the saved transport and device. Guest memory is restored already; a running device goes on at once."""
        check_version(state, "virtio-mmio transport", 1)
        self.reset()
        self.features, self._status = state["features"], state["status"]
        self._interrupt, self._generation = state["interrupt"], state["generation"]
        self._device_features_word, self._driver_features_word, self._selected = state["selectors"]
        self._irq.set(self._interrupt != 0)
        try:
            for queue, saved in zip(self.queues, state["queues"], strict=True):
                queue.load(saved)
            self.device.load(state["device"])
            if self._running():
                self.device.start(self)
        except GUEST_FAULTS as fault:
            self._fail(str(fault))

    # Registers, one function an access.

    def _queue(self) -> Virtqueue | None:
        return self.queues[self._selected] if self._selected < len(self.queues) else None

    def _read_device_features(self) -> int:
        return (self._offered >> (32 * self._device_features_word)) & WORD if self._device_features_word < 2 else 0

    def _write_driver_features(self, value: int) -> None:
        if self._driver_features_word < 2 and not self._status & FEATURES_OK:
            shift = 32 * self._driver_features_word
            self.features = self.features & ~(WORD << shift) | value << shift

    def _write_device_features_word(self, value: int) -> None:
        self._device_features_word = value

    def _write_driver_features_word(self, value: int) -> None:
        self._driver_features_word = value

    def _write_selected(self, value: int) -> None:
        self._selected = value

    def _read_queue_max(self) -> int:
        queue = self._queue()
        return queue.max_size if queue else 0

    def _read_queue_ready(self) -> int:
        queue = self._queue()
        return int(queue.ready) if queue else 0

    def _write_queue_size(self, value: int) -> None:
        queue = self._queue()
        if queue and not queue.ready:
            queue.size = value

    def _write_queue_ready(self, value: int) -> None:
        queue = self._queue()
        if queue is None or self._status & NEEDS_RESET:
            return
        if not value & 1:
            queue.disable()
        elif not queue.ready:
            queue.event_index = bool(self.features & EVENT_IDX)
            try:
                queue.enable()
            except GUEST_FAULTS as fault:
                self._fail(str(fault))

    def _write_queue_notify(self, value: int) -> None:
        if value < len(self.queues):
            self.serve(lambda: self.device.notify(value))

    def _write_interrupt_ack(self, value: int) -> None:
        self._interrupt &= ~value
        self._irq.set(self._interrupt != 0)

    def _write_status(self, value: int) -> None:
        if not value:
            self.reset()
            return
        value &= ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED
        new = value & ~self._status
        self._status |= value
        if new & FEATURES_OK and not self._acceptable():
            self._status &= ~FEATURES_OK
        if new & DRIVER_OK:
            self._start()

    def _acceptable(self) -> bool:
        """Whether the driver took only what was offered, and is no legacy driver (6.2)."""
        return not self.features & ~self._offered and bool(self.features & VERSION_1)

    def _start(self) -> None:
        if not self._status & FEATURES_OK:
            self._fail("the driver started without agreed features")
        self.serve(lambda: self.device.start(self))

    def _write_area(self, name: str, shift: int, value: int) -> None:
        queue = self._queue()
        if queue and not queue.ready:
            address = getattr(queue, name)
            setattr(queue, name, address & ~(WORD << shift) | value << shift)

    # What follows from them.

    def _running(self) -> bool:
        return self._status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK

    def _raise(self, event: int) -> None:
        self._interrupt |= event
        self._irq.set(True)

    def _fail(self, cause: str) -> None:
        """Stand still until the guest resets the device; tell a driver that listens."""
        if self._status & NEEDS_RESET:
            return
        self._status |= NEEDS_RESET
        for queue in self.queues:
            queue.disable()
        self._on_fault(cause)
        if self._status & DRIVER_OK:
            self._raise(CONFIG_CHANGE)

    _READS: ClassVar[Mapping[int, Callable[[VirtioMmio], int]]] = {
        0x000: lambda self: MAGIC,
        0x004: lambda self: VERSION,
        0x008: lambda self: self.device.device_id,
        0x00C: lambda self: VENDOR,
        0x010: _read_device_features,
        0x034: _read_queue_max,
        0x044: _read_queue_ready,
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
        0x014: _write_device_features_word,
        0x020: _write_driver_features,
        0x024: _write_driver_features_word,
        0x030: _write_selected,
        0x038: _write_queue_size,
        0x044: _write_queue_ready,
        0x050: _write_queue_notify,
        0x064: _write_interrupt_ack,
        0x070: _write_status,
        0x080: lambda self, value: self._write_area("descriptor_area", 0, value),
        0x084: lambda self, value: self._write_area("descriptor_area", 32, value),
        0x090: lambda self, value: self._write_area("driver_area", 0, value),
        0x094: lambda self, value: self._write_area("driver_area", 32, value),
        0x0A0: lambda self, value: self._write_area("device_area", 0, value),
        0x0A4: lambda self, value: self._write_area("device_area", 32, value),
    }
