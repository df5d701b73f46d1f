"""Stand-ins for what devices are connected to: guest RAM, an interrupt line, a disk."""

from __future__ import annotations

from gasang.core.protocols import GuestMemoryFault

RAM_BASE = 0x8000_0000


class FakeMemory:
    """Guest RAM in a bytearray."""

    def __init__(self, size: int = 1 << 20, base: int = RAM_BASE) -> None:
        self.base = base
        self.content = bytearray(size)
        self.discarded: list[tuple[int, int]] = []

    def _window(self, address: int, length: int) -> memoryview:
        start = address - self.base
        if length < 0 or start < 0 or start + length > len(self.content):
            raise GuestMemoryFault(address, length)
        return memoryview(self.content)[start : start + length]

    def read(self, address: int, length: int) -> bytes:
        return bytes(self._window(address, length))

    def write(self, address: int, data: bytes | memoryview) -> None:
        self._window(address, len(data))[:] = data

    def view(self, address: int, length: int) -> memoryview:
        return self._window(address, length).toreadonly()

    def discard(self, address: int, length: int) -> None:
        window = self._window(address, length)
        window[:] = bytes(length)
        self.discarded.append((address, length))


class FakeIrq:
    """A line that remembers its level and how often it rose."""

    def __init__(self) -> None:
        self.level = False
        self.rises = 0

    def set(self, level: bool) -> None:
        self.rises += level and not self.level
        self.level = level


class MemoryBlock:
    """A disk in a bytearray that records what it is asked; `failure` is raised instead while set."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.size = size
        self.content = bytearray(size)
        self.calls: list[tuple[str, int, int]] = []
        self.failure: Exception | None = None

    def _check(self, name: str, offset: int, length: int) -> None:
        assert 0 <= offset <= offset + length <= self.size
        self.calls.append((name, offset, length))
        if self.failure:
            raise self.failure

    def read(self, offset: int, length: int) -> bytes:
        self._check("read", offset, length)
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._check("write", offset, len(data))
        self.content[offset : offset + len(data)] = data

    def flush(self) -> None:
        self._check("flush", 0, 0)

    def discard(self, offset: int, length: int) -> None:
        self._check("discard", offset, length)

    def close(self) -> None:
        self.calls.append(("close", 0, 0))
