"""The generation of a virtual machine ("Virtual Machine Generation ID", Microsoft; binding "microsoft,vmgenid" of Linux's device trees).

Sixteen bytes that are another number after each restore and in each fork. A kernel that knows the device (Linux does since 6.10 on boards
with a device tree) hears an interrupt when they change, reads them, and seeds its random numbers anew at once.

The number is an identity, not a secret of the host's: whoever makes one takes it from the host's random numbers. The interrupt stays
until the guest reads the last of the bytes: its driver acknowledges nothing.
"""

from __future__ import annotations

from gasang.core.errors import BadInputError
from gasang.core.protocols import IrqLine, State
from gasang.devices.state import check_version

LENGTH = 16


class GenerationId:
    """A window of 16 bytes to read; without a number yet it is all zeroes."""

    size = 0x1000

    def __init__(self, irq: IrqLine) -> None:
        self._irq = irq
        self._number = bytes(LENGTH)
        self._changed = False

    def renew(self, number: bytes) -> None:
        """The machine is another one now: `number` has LENGTH bytes. The caller holds the bus lock."""
        assert len(number) == LENGTH
        self._number = number
        self._changed = True
        self._irq.set(True)

    def read(self, offset: int, width: int) -> int:
        """Bytes of the number; zero behind it."""
        if self._changed and offset < LENGTH <= offset + width:
            self._changed = False
            self._irq.set(False)
        return int.from_bytes(self._number[offset : offset + width], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        """Nothing here can be written."""

    def reset(self) -> None:
        """The machine stays the one it is; nobody is told."""
        self._changed = False
        self._irq.set(False)

    def save(self) -> State:
        """The number, and whether the guest has yet to read it."""
        return {"version": 1, "number": self._number, "changed": int(self._changed)}

    def load(self, state: State) -> None:
        """Become the saved one. Raises BadInputError for a number that is none."""
        check_version(state, "generation id", 1)
        number = state["number"]
        if not isinstance(number, bytes) or len(number) != LENGTH:
            raise BadInputError("saved state of generation id", f"it has no {LENGTH} bytes", "make the snapshot again")
        self._number, self._changed = number, bool(state["changed"])
        self._irq.set(self._changed)
