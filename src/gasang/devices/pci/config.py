"""A PCI function's configuration space as a table: a value and a mask of what the guest may change for each byte (PCI 3.0, chapter 6).

0x00 vendor, device   0x04 command, status   0x08 revision, class   0x10 base address registers   0x2c subsystem
0x34 first capability   0x40 capabilities, one behind the other
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError
from gasang.core.protocols import State
from gasang.devices.state import check_version

SIZE: Final = 4096
"""Of each function's part of the memory that configuration space is mapped to; what lies beyond 256 bytes is empty here."""
COMMAND, STATUS, CLASS, BARS, SUBSYSTEM, CAPABILITIES, FIRST_CAPABILITY = 0x04, 0x06, 0x09, 0x10, 0x2C, 0x34, 0x40
MEMORY_SPACE, BUS_MASTER, NO_INTERRUPT_LINE = 1 << 1, 1 << 2, 1 << 10
HAS_CAPABILITIES: Final = 1 << 4
_CACHE_LINE, _LATENCY, _INTERRUPT_LINE = 0x0C, 0x0D, 0x3C
_USED: Final = 256
_BAR_ATTRIBUTES: Final = 0xF
"""A base address register's low bits: all zero here, that is memory below 4 GiB, not prefetchable."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a function says it is; `kind` is class, subclass and programming interface in one number of 24 bits."""

    vendor: int
    device: int
    kind: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0


class ConfigSpace:
    """The space of a function with at most one base address register, `window` bytes (a power of two, or 0) that begin at `base`."""

    def __init__(self, identity: Identity, window: int = 0, base: int = 0) -> None:
        self._values = bytearray(_USED)
        self._masks = bytearray(_USED)
        self.window = window
        self._next = FIRST_CAPABILITY
        self._last_link = CAPABILITIES
        self._put(0, struct.pack("<HH", identity.vendor, identity.device))
        self._put(COMMAND, b"\0\0", struct.pack("<H", MEMORY_SPACE | BUS_MASTER | NO_INTERRUPT_LINE))
        self._put(CLASS - 1, bytes([identity.revision]) + identity.kind.to_bytes(3, "little"))
        self._put(SUBSYSTEM, struct.pack("<HH", identity.subsystem_vendor, identity.subsystem))
        for at in (_CACHE_LINE, _LATENCY, _INTERRUPT_LINE):
            self._put(at, b"\0", b"\xff")
        if window:
            self._put(BARS, struct.pack("<I", base), struct.pack("<I", -window & 0xFFFF_FFFF & ~_BAR_ATTRIBUTES))
        self._first = bytes(self._values)

    def _put(self, offset: int, values: bytes, masks: bytes = b"") -> None:
        self._values[offset : offset + len(values)] = values
        self._masks[offset : offset + len(masks)] = masks

    def capability(self, kind: int, body: bytes, masks: bytes = b"") -> int:
        """Add a capability: `body` stands behind its two bytes of kind and link, and so do `masks`. Where it begins."""
        offset = self._next
        if offset + 2 + len(body) > _USED:
            raise ValueError(f"capability {kind:#x} has no room behind {offset:#x}")
        self._put(offset, bytes([kind, 0]) + body, b"\0\0" + masks)
        self._values[self._last_link] = offset
        self._last_link = offset + 1
        self._next = offset + 2 + len(body) + 3 & ~3
        self._values[STATUS] |= HAS_CAPABILITIES
        self._first = bytes(self._values)
        return offset

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`, anywhere; zero where there is nothing."""
        return int.from_bytes(self._values[offset : offset + width], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        """Change what may be changed of `width` bytes at `offset`, anywhere."""
        for at in range(offset, min(offset + width, _USED)):
            mask = self._masks[at]
            self._values[at] = self._values[at] & ~mask | value & mask
            value >>= 8

    def base(self) -> int | None:
        """Where the window is; None while the guest has it switched off, or where there is none."""
        if not self.window or not self._values[COMMAND] & MEMORY_SPACE:
            return None
        return self.read(BARS, 4) & ~_BAR_ATTRIBUTES

    def reset(self) -> None:
        """As it was made."""
        self._values[:] = self._first

    def save(self) -> State:
        """The bytes."""
        return {"version": 1, "bytes": bytes(self._values)}

    def load(self, state: State) -> None:
        """What the guest had changed; raise BadInputError for the state of another function."""
        check_version(state, "PCI configuration space", 1)
        saved = state["bytes"]
        fixed = [at for at in range(_USED) if len(saved) != _USED or (saved[at] ^ self._first[at]) & ~self._masks[at]]
        if fixed:
            cause = f"byte {fixed[0]:#x} is not this function's"
            raise BadInputError("saved PCI configuration space", cause, "restore it into a machine of the same devices")
        self._values[:] = saved
