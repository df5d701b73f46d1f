"""The port on which a guest's kernel tells that it has panicked (QEMU's docs/specs/pvpanic.rst; Linux: drivers/misc/pvpanic).

One byte: read, the events that can be told; written, an event.
"""

from __future__ import annotations

from collections.abc import Callable

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.syscon import PowerAction, PowerRequest

PANICKED = 1
CODE = 1


class Pvpanic:
    """Tells `on_request` of a panic as of a power-off with a failure: nothing follows that anybody would want to see."""

    size = 1

    def __init__(self, on_request: Callable[[PowerRequest], None]) -> None:
        self._on_request = on_request

    def read(self, offset: int, width: int) -> int:
        """The events it takes."""
        return PANICKED

    def write(self, offset: int, width: int, value: int) -> None:
        """Pass on a panic; other events are ignored."""
        if value & PANICKED:
            self._on_request(PowerRequest(PowerAction.FAIL, CODE))

    def reset(self) -> None:
        """Nothing is kept."""

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "pvpanic", 1)
