"""The one thing a machine without a keyboard has of the PC's keyboard controller (Intel 8042; ports 0x60 and 0x64): its reset line.

The tables say that no controller is there, so no driver looks for a keyboard; kernels told to reboot "by keyboard" still find the line.
"""

from __future__ import annotations

from collections.abc import Callable

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.syscon import PowerAction, PowerRequest

COMMAND = 4
"""Offset of the command and status port."""
PULSE_RESET = 0xFE


class I8042:
    """`on_request` hears of a reset."""

    size = 5

    def __init__(self, on_request: Callable[[PowerRequest], None]) -> None:
        self._on_request = on_request

    def read(self, offset: int, width: int) -> int:
        """An empty status, for whoever waits until a command may be given; all ones on the data port and the ports between."""
        return 0 if offset == COMMAND else (1 << (8 * width)) - 1

    def write(self, offset: int, width: int, value: int) -> None:
        """Take the reset command; everything else has no effect."""
        if offset == COMMAND and value & 0xFF == PULSE_RESET:
            self._on_request(PowerRequest(PowerAction.RESET))

    def reset(self) -> None:
        """Nothing is kept."""

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "i8042", 1)
