"""Parts of the RISC-V ACLINT (specification 1.0-draft) for guests that want them beside Sstc and the SBI.

`Mtimer` shows the machine's time counter to loads (chapter 2). Its compare registers belong to machine mode, which no
guest has here: they read as all ones, "never", and ignore stores, and so does the counter.

`Sswi` raises supervisor software interrupts (chapter 4): a store of one makes the interrupt of that hart pending; the hart
clears it in its own `sip`, so the register always reads as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gasang.core.protocols import Interrupt, State
from gasang.devices.state import check_version

MTIME = 0x7FF8
NEVER = (1 << 64) - 1


class Mtimer:
    """The read-only time counter; `now` gives timebase ticks."""

    size = 0x8000

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now

    def read(self, offset: int, width: int) -> int:
        """Aligned loads of 4 or 8 bytes see MTIME, or "never" in the compare registers."""
        if width not in (4, 8) or offset % width:
            return 0
        value = self._now() if offset >= MTIME else NEVER
        return value >> (8 * (offset & 7))

    def write(self, offset: int, width: int, value: int) -> None:
        """Nothing here can be written from supervisor mode."""

    def reset(self) -> None:
        """Time goes on."""

    def save(self) -> State:
        """Nothing but the version: the accelerator keeps the time."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "ACLINT MTIMER", 1)


class Sswi:
    """One 32-bit SETSSIP register a hart; `targets[h]` makes hart h's supervisor software interrupt pending."""

    size = 0x4000

    def __init__(self, targets: Sequence[Interrupt]) -> None:
        self._targets = targets

    def read(self, offset: int, width: int) -> int:
        """Always zero."""
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Bit 0 of an aligned 32-bit store interrupts that hart."""
        if width == 4 and not offset & 3 and value & 1 and offset >> 2 < len(self._targets):
            self._targets[offset >> 2](True)

    def reset(self) -> None:
        """Nothing is kept: what is pending is in the harts."""

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "ACLINT SSWI", 1)
