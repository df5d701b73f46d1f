"""The serial line's shortcut past Python (cpus/riscv64/line.py), as the device uses it (devices.serial16550.Shortcut)."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from gasang.cpus.riscv64.state import LINE_ROOM

if TYPE_CHECKING:
    from gasang.accel.soft.machine import SoftMachine


class SerialShortcut:
    """Of a machine's one serial line. It is nowhere until it is connected."""

    def __init__(self, machine: SoftMachine) -> None:
        self._shared = machine.shared
        self._take = machine.processor.functions["take_line"]
        self._hart = machine.harts[0].address
        self._room = (ctypes.c_uint8 * LINE_ROOM)()

    def connect(self, base: int) -> None:
        """The device's registers are at this guest-physical address; 0 for nowhere: each access asks the device then."""
        self._shared.line_at = base
        if not base:
            self.offer(0, takes=False)

    @property
    def has_some(self) -> bool:
        """Whether bytes wait."""
        return bool(self._shared.line_count)

    def offer(self, status: int, *, takes: bool) -> None:
        """From now on this is the line status (0: the device must be asked), and bytes to be sent wait here if it `takes` them."""
        connected = bool(self._shared.line_at)
        self._shared.line_status = status if connected else 0
        self._shared.line_open = int(takes and connected)

    def take(self) -> bytes:
        """The bytes that wait, in the order in which they were stored; one thread at a time."""
        if not self.has_some:
            return b""
        return ctypes.string_at(self._room, self._take(self._hart, ctypes.addressof(self._room)))
