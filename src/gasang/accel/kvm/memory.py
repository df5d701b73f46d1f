"""Guest RAM under KVM: ranges of guest-physical memory, a slot each, and the one checked accessor devices use.

A PC's RAM has a hole below 4 GiB for devices; what does not fit below it lies above 4 GiB. All ranges are one piece of the host's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gasang.core.protocols import GuestMemoryFault
from gasang.host.memory import LazyMemory


@dataclass(frozen=True)
class Range:
    """`size` bytes at guest-physical `base`, which lie `offset` bytes into the host's memory."""

    base: int
    size: int
    offset: int


class GuestRam:
    """RAM at the (base, size) of `ranges`, which do not overlap (core.protocols.GuestMemory)."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.size = sum(size for _, size in ranges)
        self.memory = LazyMemory(self.size, "gasang-ram")
        offset = 0
        found = []
        for base, size in ranges:
            found.append(Range(base, size, offset))
            offset += size
        self.ranges = tuple(found)
        self._written: Callable[[int, int], None] | None = None

    def on_write(self, written: Callable[[int, int], None] | None) -> None:
        """`written(offset in the host's memory, bytes)` is called after each store from outside; None: nobody is."""
        self._written = written

    @property
    def base(self) -> int:
        """Where it begins for the guest."""
        return self.ranges[0].base

    def _offset(self, address: int, length: int) -> int:
        for part in self.ranges:
            if part.base <= address < part.base + part.size:
                if 0 <= length <= part.base + part.size - address:
                    return address - part.base + part.offset
                break
        raise GuestMemoryFault(address, length)

    def read(self, address: int, length: int) -> bytes:
        """Copy `length` bytes; raise GuestMemoryFault unless all of it is RAM of one range."""
        offset = self._offset(address, length)
        return bytes(self.memory.view[offset : offset + length])

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Store `data`; raise GuestMemoryFault unless all of it is RAM of one range."""
        offset = self._offset(address, len(data))
        self.memory.write(offset, data)
        if self._written is not None:
            self._written(offset, len(data))

    def view(self, address: int, length: int) -> memoryview:
        """A read-only window; raise GuestMemoryFault unless all of it is RAM of one range."""
        offset = self._offset(address, length)
        return self.memory.view[offset : offset + length].toreadonly()

    def discard(self, address: int, length: int) -> None:
        """Give the whole pages of a range back to the host; raise GuestMemoryFault unless all of it is RAM of one range."""
        offset = self._offset(address, length)
        self.memory.discard(offset, length)
        if self._written is not None and length:
            self._written(offset, length)

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()
