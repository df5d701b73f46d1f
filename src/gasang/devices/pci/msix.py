"""MSI-X: a table of messages that the guest writes, one of which is sent for each interrupt (PCI 3.0, section 6.8.2).

An entry is an address (8 bytes), data (4) and control (4; bit 0 masks it). What comes while an entry, or all of them, is masked is
pending, and sent when it no longer is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from gasang.core.protocols import State
from gasang.devices.pci.config import ConfigSpace
from gasang.devices.state import check_version

CAPABILITY: Final = 0x11
ENTRY: Final = 16
MASKED: Final = 1
_ENABLE, _MASK_ALL = 1 << 15, 1 << 14
_MESSAGE: Final = struct.Struct("<QII")

SendMessage = Callable[[int, int], None]
"""Delivers an MSI: address and data, both the guest's to choose."""


class Msix:
    """`count` (at most 2048) vectors; `send` delivers a message. Its table lies at `table`, its pending bits at `pending` of window 0."""

    def __init__(self, config: ConfigSpace, count: int, table: int, pending: int, send: SendMessage) -> None:
        self.count = count
        self._config = config
        self._send = send
        body = struct.pack("<HII", count - 1, table, pending)
        self._control = config.capability(CAPABILITY, body, struct.pack("<H", _ENABLE | _MASK_ALL)) + 2
        self.reset()

    @property
    def table_size(self) -> int:
        """Bytes of the table."""
        return self.count * ENTRY

    def reset(self) -> None:
        """Every vector masked, none pending."""
        self._table = bytearray((bytes(12) + struct.pack("<I", MASKED)) * self.count)
        self._pending = 0

    def fire(self, vector: int) -> None:
        """Send a vector's message, or keep it pending while it is masked; one that is not there, and all while MSI-X is off, are lost."""
        control = self._config.read(self._control, 2)
        if vector >= self.count or not control & _ENABLE:
            return
        address, data, mask = _MESSAGE.unpack_from(self._table, vector * ENTRY)
        if mask & MASKED or control & _MASK_ALL:
            self._pending |= 1 << vector
        else:
            self._send(address, data)

    def message(self, vector: int) -> tuple[int, int] | None:
        """Address and data of what `fire` would send now; None where it would send nothing."""
        control = self._config.read(self._control, 2)
        if vector >= self.count or control & (_ENABLE | _MASK_ALL) != _ENABLE:
            return None
        address, data, mask = _MESSAGE.unpack_from(self._table, vector * ENTRY)
        return None if mask & MASKED else (address, data)

    def changed(self) -> None:
        """The guest may have unmasked something: send what waited."""
        waiting, self._pending = self._pending, 0
        for vector in range(self.count):
            if waiting >> vector & 1:
                self.fire(vector)

    def read_table(self, offset: int, width: int) -> int:
        """Part of the table."""
        return int.from_bytes(self._table[offset : offset + width], "little")

    def write_table(self, offset: int, width: int, value: int) -> None:
        """Words and pairs of words at their own alignment; others are not defined, and ignored here."""
        if width in (4, 8) and not offset % width and offset + width <= self.table_size:
            self._table[offset : offset + width] = value.to_bytes(width, "little")
            self.changed()

    def read_pending(self, offset: int, width: int) -> int:
        """Part of the pending bits."""
        return self._pending >> (8 * offset) & ((1 << 8 * width) - 1)

    def save(self) -> State:
        """Table and pending bits; control is the configuration space's."""
        return {"version": 1, "table": bytes(self._table), "pending": self._pending}

    def load(self, state: State) -> None:
        """Become the saved one."""
        check_version(state, "MSI-X table", 1)
        self._table[:] = state["table"][: self.table_size].ljust(self.table_size, b"\0")
        self._pending = state["pending"] & ((1 << self.count) - 1)
