"""The power registers of hardware-reduced ACPI: sleep control, sleep status and reset, a byte each (ACPI 6.5, 4.8.3.6 and 4.8.3.7).

0  sleep control  SLP_TYP in bits 2 to 4, SLP_EN (bit 5) has it done
1  sleep status   WAK_STS (bit 7): nothing here ever wakes
2  reset          the value that the tables name resets the machine
"""

from __future__ import annotations

from collections.abc import Callable

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.syscon import PowerAction, PowerRequest

SLEEP_CONTROL, SLEEP_STATUS, RESET = 0, 1, 2
SLEEP_ENABLE = 1 << 5


class AcpiPower:
    """Tells `on_request` of a power-off (sleep type `off`) and of a reset (`reset_value` stored); other sleep types are not offered."""

    size = 3

    def __init__(self, off: int, reset_value: int, on_request: Callable[[PowerRequest], None]) -> None:
        self._off = off
        self._reset_value = reset_value
        self._on_request = on_request

    def read(self, offset: int, width: int) -> int:
        """Zero everywhere: nothing sleeps, nothing has woken."""
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Pass on a request; anything else is ignored."""
        if offset == SLEEP_CONTROL and value & SLEEP_ENABLE and value >> 2 & 7 == self._off:
            self._on_request(PowerRequest(PowerAction.OFF))
        elif offset == RESET and value & 0xFF == self._reset_value:
            self._on_request(PowerRequest(PowerAction.RESET))

    def reset(self) -> None:
        """Nothing is kept."""

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "ACPI power registers", 1)
