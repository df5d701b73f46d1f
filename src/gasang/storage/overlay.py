"""Copy-on-write over a disk that never changes (core.protocols.Block): what is written goes to a private file that is gone on close."""

from __future__ import annotations

import os
import tempfile

from gasang.core.protocols import Block

CLUSTER = 1 << 16
"""Bytes copied from the base at the first write to them."""


class Overlay:
    """A disk of the base's size. The private file has no name and holds only clusters that were written."""

    def __init__(self, base: Block, directory: str | None = None) -> None:
        self._base = base
        self.size = base.size
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - lives as long as the disk
        self._descriptor = self._file.fileno()
        os.ftruncate(self._descriptor, self.size)
        self._written = bytearray(-(-self.size // CLUSTER))

    def _runs(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """The range as (offset, length, written) pieces, neighbours of one kind joined."""
        runs: list[tuple[int, int, int]] = []
        end = offset + length
        while offset < end:
            cluster = offset // CLUSTER
            kind = self._written[cluster]
            stop = self._written.find(1 - kind, cluster, -(-end // CLUSTER))
            upto = end if stop < 0 else min(end, stop * CLUSTER)
            runs.append((offset, upto - offset, kind))
            offset = upto
        return runs

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise OSError if the host fails."""
        parts = [self._read_own(at, size) if own else self._base.read(at, size) for at, size, own in self._runs(offset, length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_own(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        return data if len(data) == length else data + self._read_own(offset + len(data), length - len(data))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError if the host fails (a full disk among that)."""
        end = offset + len(data)
        if not len(data):
            return
        first, last = offset // CLUSTER, (end - 1) // CLUSTER
        for cluster, is_partial in {first: offset % CLUSTER != 0, last: end % CLUSTER != 0 and end != self.size}.items():
            if (is_partial or (cluster == first and offset % CLUSTER)) and not self._written[cluster]:
                self._adopt(cluster)
        self._write_own(offset, data)
        self._written[first : last + 1] = b"\1" * (last + 1 - first)

    def _adopt(self, cluster: int) -> None:
        start = cluster * CLUSTER
        self._write_own(start, self._base.read(start, min(CLUSTER, self.size - start)))

    def _write_own(self, offset: int, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[done:], offset + done

    def flush(self) -> None:
        """Nothing here outlives the machine: there is no stable storage to wait for."""

    def discard(self, offset: int, length: int) -> None:
        """The content stays: giving it up would need a record of holes for data that is soon gone anyway."""

    def close(self) -> None:
        """Forget everything written, and close the base."""
        self._file.close()
        self._base.close()
