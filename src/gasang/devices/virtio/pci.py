"""The virtio-pci transport, modern only (virtio 1.2, section 4.1): a PCI function whose one window holds all structures.

    0x0000 common configuration   0x1000 interrupt status   0x2000 the device's configuration   0x3000 notifications, 4 bytes a queue
    0x4000 MSI-X table            0x5000 MSI-X pending bits

Interrupts are messages: one vector for configuration changes and one for each queue, if the driver wants so many. There is no pin.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

from gasang.core.protocols import GuestMemory, State
from gasang.devices.lock import Lock
from gasang.devices.pci.config import ConfigSpace, Identity
from gasang.devices.pci.msix import Msix, SendMessage
from gasang.devices.state import check_version
from gasang.devices.virtio.bell import Place
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.queue import Virtqueue
from gasang.devices.virtio.transport import Transport

VENDOR: Final = 0x1AF4
FIRST_DEVICE: Final = 0x1040
KINDS: Final[Mapping[int, int]] = {1: 0x020000, 2: 0x010000, 3: 0x078000}
"""PCI class of a virtio device id."""
OTHER_KIND: Final = 0xFF0000
NO_VECTOR: Final = 0xFFFF
WINDOW: Final = 0x8000
COMMON, STATUS, CONFIG, NOTIFY, TABLE, PENDING = 0x0000, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
COMMON_SIZE: Final = 0x3C
PAGE: Final = 0x1000
NOTIFY_MULTIPLIER: Final = 4
_CAPABILITY: Final = 0x09
_COMMON_CFG, _NOTIFY_CFG, _ISR_CFG, _DEVICE_CFG, _PCI_CFG = 1, 2, 3, 4, 5


class Field(NamedTuple):
    """A register of the common configuration: its bytes, and how it is read and written."""

    width: int
    read: Callable[[VirtioPci], int]
    write: Callable[[VirtioPci, int], None] | None = None


class VirtioPci(Transport):
    """`device` as a PCI function whose window begins at `base`; `send` delivers an MSI."""

    name = "virtio-pci transport"
    generations = 1 << 8

    def __init__(
        self,
        device: VirtioDevice,
        memory: GuestMemory,
        send: SendMessage,
        lock: Lock,
        base: int,
        on_fault: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        super().__init__(device, memory, lock, on_fault)
        number = device.device_id
        kind = KINDS.get(number, OTHER_KIND)
        identity = Identity(VENDOR, FIRST_DEVICE + number, kind, 1, VENDOR, FIRST_DEVICE + number)
        self.config = ConfigSpace(identity, WINDOW, base)
        self.msix = Msix(self.config, len(self.queues) + 1, TABLE, PENDING, send)
        self.event_of: Callable[[int, int], int | None] = lambda address, data: None
        """The eventfd that delivers a message, where it has one."""
        self._config_vector = NO_VECTOR
        self._vectors = [NO_VECTOR] * len(self.queues)
        for structure, offset, length in ((_COMMON_CFG, COMMON, COMMON_SIZE), (_ISR_CFG, STATUS, 1), (_DEVICE_CFG, CONFIG, PAGE)):
            self._structure(structure, offset, length)
        self._structure(_NOTIFY_CFG, NOTIFY, NOTIFY_MULTIPLIER * len(self.queues), struct.pack("<I", NOTIFY_MULTIPLIER))
        # The way to the window for firmware that cannot map it: where (bar, offset, length) is the guest's to write (4.1.4.9).
        body = struct.pack("<BBBxxxIII", 20, _PCI_CFG, 0, 0, 0, 0)
        masks = struct.pack("<BBBxxxIII", 0, 0, 0xFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0)
        self._access = self.config.capability(_CAPABILITY, body, masks)

    def _structure(self, structure: int, offset: int, length: int, more: bytes = b"") -> None:
        """A vendor's capability that tells where a structure lies (4.1.4)."""
        self.config.capability(_CAPABILITY, struct.pack("<BBBxxxII", 16 + len(more), structure, 0, offset, length) + more)

    # Configuration space.

    def read_config(self, offset: int, width: int) -> int:
        """The table, but for the data behind the access capability, which is the window's."""
        where = self._window_access(offset, width)
        return self.config.read(offset, width) if where is None else self.read(where, width)

    def write_config(self, offset: int, width: int, value: int) -> None:
        """As `read_config`."""
        where = self._window_access(offset, width)
        if where is None:
            self.take_back()
            self.config.write(offset, width, value)
            self.msix.changed()
            self._hang()
        else:
            self.write(where, width, value)

    def _window_access(self, offset: int, width: int) -> int | None:
        """The window's offset that an access to the capability's data means; None for any other access, and one that is not allowed."""
        if offset != self._access + 16:
            return None
        bar, where, length = (self.config.read(self._access + at, size) for at, size in ((4, 1), (8, 4), (12, 4)))
        allowed = not bar and length == width and width in (1, 2, 4) and not where % width and where + width <= WINDOW
        return where if allowed else None

    # The window.

    def read(self, offset: int, width: int) -> int:
        """A register; zero where there is none."""
        page = offset & -PAGE
        if page == STATUS:
            self.take_back()
        part = self._PARTS.get(page)
        return part[0](self, offset - page, width) if part else 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Take a store to a register; ignored where there is none."""
        page = offset & -PAGE
        if page != NOTIFY:
            self.take_back()
        part = self._PARTS.get(page)
        if part:
            part[1](self, offset - page, width, value)

    def _read_common(self, offset: int, width: int) -> int:
        field = self._FIELDS.get(offset)
        return field.read(self) if field and field.width == width else 0

    def _write_common(self, offset: int, width: int, value: int) -> None:
        if width == 8 and offset in self._AREAS:  # one store where the specification has two
            self._write_common(offset + 4, 4, value >> 32)
            width, value = 4, value & 0xFFFF_FFFF
        field = self._FIELDS.get(offset)
        if field and field.write and field.width == width:
            field.write(self, value)

    def _read_status(self, offset: int, width: int) -> int:
        """What happened since it was read last (4.1.4.5)."""
        if offset:
            return 0
        events, self._interrupt = self._interrupt, 0
        return events

    def _write_notify(self, offset: int, width: int, value: int) -> None:
        self._notify(offset // NOTIFY_MULTIPLIER)

    def _nothing(self, offset: int, width: int, value: int) -> None:
        """Not the guest's to change."""

    def _read_nothing(self, offset: int, width: int) -> int:
        return 0

    def _place(self, index: int) -> Place | None:
        base = self.config.base()
        return None if base is None else Place(base + NOTIFY + NOTIFY_MULTIPLIER * index, 2)

    def _event(self, index: int) -> int | None:
        vector = self._vectors[index]
        if vector == NO_VECTOR:
            return -1
        message = self.msix.message(vector)
        return None if message is None else self.event_of(*message)

    # Interrupts.

    def _tell(self, event: int, queue: Virtqueue | None) -> None:
        self._interrupt |= event
        vector = self._config_vector if queue is None else self._vectors[self.queues.index(queue)]
        self.msix.fire(vector)

    def _quiet(self) -> None:
        self._config_vector = NO_VECTOR
        self._vectors = [NO_VECTOR] * len(self.queues)

    def _vector(self, value: int) -> int:
        """The vector asked for, or none where there is none of that number: the driver reads it back (4.1.5.1.2.1)."""
        return value if value < self.msix.count else NO_VECTOR

    # State.

    def reset(self) -> None:
        """The state at power-on."""
        self._reset()
        self.config.reset()
        self.msix.reset()

    def save(self) -> State:
        """Registers, queues, the device's own state, and what makes it a PCI function."""
        own = {"config_vector": self._config_vector, "vectors": list(self._vectors)}
        return self._save() | {"pci": self.config.save(), "msix": self.msix.save()} | own

    def load(self, state: State) -> None:
        """Become the saved transport and device. Guest memory is restored already; a running device goes on at once."""
        check_version(state, self.name, 1)
        self.config.load(state["pci"])
        self.msix.load(state["msix"])

        def before() -> None:
            self._config_vector, self._vectors = state["config_vector"], list(state["vectors"])

        self._load(state, before)

    # The common configuration, one function an access.

    def _write_config_vector(self, value: int) -> None:
        self._config_vector = self._vector(value)

    def _read_queue_size(self) -> int:
        queue = self._queue()
        return queue.size if queue else 0

    def _read_queue_vector(self) -> int:
        return self._vectors[self._selected] if self._queue() else NO_VECTOR

    def _write_queue_vector(self, value: int) -> None:
        if self._queue():
            self._vectors[self._selected] = self._vector(value)

    def _write_queue_enable(self, value: int) -> None:
        """A queue is switched off by a reset only (4.1.4.3.2)."""
        if value == 1:
            self._enable_queue()

    def _read_area(self, name: str, shift: int) -> int:
        queue = self._queue()
        return getattr(queue, name) >> shift & 0xFFFF_FFFF if queue else 0

    _AREAS: ClassVar[Mapping[int, str]] = {0x20: "descriptor_area", 0x28: "driver_area", 0x30: "device_area"}
    _FIELDS: ClassVar[Mapping[int, Field]] = {
        0x00: Field(4, lambda self: self._device_features_word, Transport._write_device_features_word),
        0x04: Field(4, Transport._read_device_features),
        0x08: Field(4, lambda self: self._driver_features_word, Transport._write_driver_features_word),
        0x0C: Field(4, lambda self: self._read_driver_features(), Transport._write_driver_features),
        0x10: Field(2, lambda self: self._config_vector, _write_config_vector),
        0x12: Field(2, lambda self: len(self.queues)),
        0x14: Field(1, lambda self: self._status, Transport._write_status),
        0x15: Field(1, lambda self: self._generation),
        0x16: Field(2, lambda self: self._selected, Transport._write_selected),
        0x18: Field(2, _read_queue_size, Transport._write_queue_size),
        0x1A: Field(2, _read_queue_vector, _write_queue_vector),
        0x1C: Field(2, Transport._read_queue_ready, _write_queue_enable),
        0x1E: Field(2, lambda self: self._selected if self._queue() else 0),
        **{
            offset + 4 * half: Field(
                4,
                lambda self, name=name, shift=32 * half: self._read_area(name, shift),  # type: ignore[misc]
                lambda self, value, name=name, shift=32 * half: self._write_area(name, shift, value),  # type: ignore[misc]
            )
            for offset, name in _AREAS.items()
            for half in (0, 1)
        },
    }
    _PARTS: ClassVar[Mapping[int, tuple[Callable[[VirtioPci, int, int], int], Callable[[VirtioPci, int, int, int], None]]]] = {
        COMMON: (_read_common, _write_common),
        STATUS: (_read_status, _nothing),
        CONFIG: (Transport._config, Transport._write_config),
        NOTIFY: (_read_nothing, _write_notify),
        TABLE: (
            lambda self, offset, width: self.msix.read_table(offset, width),
            lambda self, offset, width, value: self.msix.write_table(offset, width, value),
        ),
        PENDING: (lambda self, offset, width: self.msix.read_pending(offset, width), _nothing),
    }
