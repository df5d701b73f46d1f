"""The reset and power-off register stock kernels find as "sifive,test0" and drive through their generic syscon drivers.

One 32-bit register at offset 0. The low half of a store is the request, the high half an exit code for FAIL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gasang.core.protocols import State
from gasang.devices.state import check_version


class PowerAction(Enum):
    """What the guest asks of its power supply; the value is what it stores."""

    FAIL = 0x3333
    OFF = 0x5555
    RESET = 0x7777


@dataclass(frozen=True, slots=True)
class PowerRequest:
    """A request, and the exit code that came with FAIL (0 otherwise)."""

    action: PowerAction
    code: int = 0


class Syscon:
    """Tells `on_request` what the guest asked for; the machine acts on it after the store has completed."""

    size = 0x1000

    def __init__(self, on_request: Callable[[PowerRequest], None]) -> None:
        self._on_request = on_request

    def read(self, offset: int, width: int) -> int:
        """Zero everywhere: the register is write-only."""
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Pass on a request; unknown ones are ignored."""
        request = value & 0xFFFF
        if offset or request not in _REQUESTS:
            return
        action = _REQUESTS[request]
        self._on_request(PowerRequest(action, value >> 16 & 0xFFFF if action is PowerAction.FAIL else 0))

    def reset(self) -> None:
        """Nothing is kept."""

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "syscon", 1)


_REQUESTS = {action.value: action for action in PowerAction}
