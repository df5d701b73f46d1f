"""A disk in memory (core.protocols.Block): for tests, and for what is not worth a file."""

from __future__ import annotations

import errno

from gasang.storage.bounds import check_range


class Memory:
    """`size` bytes, zeroes at first unless `content` says otherwise."""

    def __init__(self, size: int = 0, content: bytes = b"", *, read_only: bool = False) -> None:
        self._content = bytearray(content.ljust(size, b"\0"))
        self.size = len(self._content)
        self.read_only = read_only

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise OSError outside the disk."""
        check_range(self.size, offset, length)
        return bytes(self._content[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk or if it is read-only."""
        check_range(self.size, offset, len(data))
        if self.read_only:
            raise OSError(errno.EROFS, "the disk is read-only")
        self._content[offset : offset + len(data)] = data

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make the range read as zeroes; raise OSError as `write` does."""
        check_range(self.size, offset, length)
        self.write(offset, bytes(length))

    def flush(self) -> None:
        """Memory is as stable as it gets."""

    def discard(self, offset: int, length: int) -> None:
        """Forget the range: it reads as zeroes."""
        self.write_zeroes(offset, length)

    def close(self) -> None:
        """Let the content go."""
        self._content = bytearray()
        self.size = 0
