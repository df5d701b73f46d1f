"""Guest RAM of the software machine, and the one checked accessor devices use."""

from __future__ import annotations

from collections.abc import Callable

from gasang.core.protocols import GuestMemoryFault
from gasang.host.memory import LazyMemory

PAGE_SHIFT = 12


class GuestRam:
    """One range of RAM at a guest-physical base (core.protocols.GuestMemory)."""

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.size = size
        self.memory = LazyMemory(size, "gasang-ram")
        self._changed: Callable[[int, int], None] | None = None

    def on_change(self, changed: Callable[[int, int], None]) -> None:
        """`changed(first page, last page)` is called after each store from outside."""
        self._changed = changed

    def guard_writes(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """From now on call `begin` before each change from outside, and `end` behind it."""

        def guarded(change: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object) -> None:
                begin()
                try:
                    change(*arguments)
                finally:
                    end()

            return call

        self.write = guarded(self.write)  # type: ignore[method-assign]
        self.discard = guarded(self.discard)  # type: ignore[method-assign]

    def _offset(self, address: int, length: int) -> int:
        offset = address - self.base
        if length < 0 or offset < 0 or offset + length > self.size:
            raise GuestMemoryFault(address, length)
        return offset

    def read(self, address: int, length: int) -> bytes:
        """Copy `length` bytes; raise GuestMemoryFault unless all of it is RAM."""
        offset = self._offset(address, length)
        return bytes(self.memory.view[offset : offset + length])

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Store `data`; raise GuestMemoryFault unless all of it is RAM."""
        length = len(data)
        offset = self._offset(address, length)
        self.memory.write(offset, data)
        if self._changed is not None and length:
            self._changed(offset >> PAGE_SHIFT, (offset + length - 1) >> PAGE_SHIFT)

    def view(self, address: int, length: int) -> memoryview:
        """A read-only window; raise GuestMemoryFault unless all of it is RAM."""
        offset = self._offset(address, length)
        return self.memory.view[offset : offset + length].toreadonly()

    def discard(self, address: int, length: int) -> None:
        """Give the whole pages of a range back to the host; raise GuestMemoryFault unless all of it is RAM."""
        offset = self._offset(address, length)
        self.memory.discard(offset, length)
        if self._changed is not None and length:
            self._changed(offset >> PAGE_SHIFT, (offset + length - 1) >> PAGE_SHIFT)

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()
