"""A qcow2 image's tables, and reading through them: where each part of the disk is (docs/interop/qcow2.txt, "Cluster mapping").

Not locked: one thread at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from gasang.core.errors import BadInputError
from gasang.core.protocols import Block
from gasang.storage.bounds import check_range
from gasang.storage.images.pieces import joined
from gasang.storage.images.qcow2 import entries
from gasang.storage.images.qcow2.compression import expand
from gasang.storage.images.qcow2.header import Header
from gasang.storage.images.store import Store, stretch_of
from gasang.storage.images.stretch import Located, Stretch

HOLE, ZERO, DATA, PACKED = range(4)
"""What a part of the disk is: the backing file's, zeroes, bytes at an offset of the file, a compressed cluster's entry."""
_PLAIN = entries.OFFSET | entries.COPIED
"""What an entry of a cluster with bytes of its own consists of."""
_TABLES_MEMORY = 32 << 20

Place = tuple[int, int, int]
"""Kind, offset in the file or entry, length."""


class Mapped:
    """The reading half of an open image over `store`."""

    def __init__(self, store: Store, head: Header, backing: Block | None) -> None:
        self.store = store
        self.header = head
        self.backing = backing
        self.size = head.size
        self._bits = head.cluster_bits
        self._cluster = head.cluster
        self._span = head.l2_entries << head.cluster_bits
        """Bytes of the disk that a level 2 table speaks of."""
        self._wide = 2 if head.extended else 1
        self.l1 = entries.load(store.read(head.l1_offset, head.l1_size * 8))
        self._tables: dict[int, array[int]] = {}
        self._dirty: set[int] = set()
        """Level 2 tables that the file does not have as they are."""
        self._expanded: tuple[int, bytes] = (-1, b"")

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises OSError outside the disk or if the host fails, BadInputError where the image is damaged."""
        check_range(self.size, offset, length)
        cluster = self._cluster
        if self._wide == 1 and offset % cluster + length <= cluster:  # most reads of machines lie in one cluster, with bytes in the file
            table = self._tables.get(offset // self._span)
            entry = table[(offset % self._span) >> self._bits] if table is not None else 0
            if entry & _PLAIN == entry and entry & entries.OFFSET and not entry & cluster - 1:
                return self.store.read((entry & entries.OFFSET) + offset % cluster, length)
        parts = []
        at = offset
        for kind, where, span in self.places(offset, length):
            parts.append(self._part(kind, where, at, span))
            at += span
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(self, kind: int, where: int, at: int, span: int) -> bytes:
        if kind == DATA:
            return self.store.read(where, span)
        if kind == PACKED:
            inside = at % self.header.cluster
            return self._unpacked(where)[inside : inside + span]
        if kind == HOLE and self.backing is not None:
            have = min(span, max(0, self.backing.size - at))
            return self.backing.read(at, have).ljust(span, b"\0") if have else bytes(span)
        return bytes(span)

    def stretches(self, offset: int, length: int) -> Iterator[tuple[Stretch | None, int]]:
        """Where the bytes of a range lie, in this file or below; zeroes and compressed clusters have to be read. Raises as `read` does."""
        check_range(self.size, offset, length)
        for kind, where, span in self.places(offset, length):
            if kind == DATA:
                yield stretch_of(self.store, where, span), span
            elif kind == HOLE and isinstance(self.backing, Located) and offset + span <= self.backing.size:
                yield from self.backing.stretches(offset, span)
            else:
                yield None, span
            offset += span

    def _unpacked(self, entry: int) -> bytes:
        if self._expanded[0] != entry:
            offset, length = entries.compressed_place(entry, self._bits)
            if offset >= self.store.size() or length > 2 * self.header.cluster + 512:
                raise BadInputError(f"disk {self.store.name}", "a compressed cluster lies outside the file", "check the image")
            data = self.store.read(offset, length)
            self._expanded = entry, expand(data, self.header.cluster, self.header.compression, self.store.name)
        return self._expanded[1]

    def places(self, offset: int, length: int) -> Iterator[Place]:
        """Where the parts of a range are, in order; parts that follow one another in the file are one."""
        kind, where, span = -1, 0, 0
        for next_kind, next_where, step in self._pieces(offset, length):
            if next_kind == kind and (kind in (HOLE, ZERO) or (kind == DATA and next_where == where + span)):
                span += step
                continue
            if span:
                yield kind, where, span
            kind, where, span = next_kind, next_where, step
        if span:
            yield kind, where, span

    def _pieces(self, offset: int, length: int) -> Iterator[Place]:
        end = offset + length
        while offset < end:
            table = self._table(offset)
            if table is None:
                step = min(end, (offset // self._span + 1) * self._span) - offset
                yield HOLE, 0, step
                offset += step
                continue
            last = min(end, (offset // self._span + 1) * self._span)
            yield from self._wide_pieces(table, offset, last) if self._wide == 2 else self._runs(table, offset, last)
            offset = last

    def _wide_pieces(self, table: array[int], offset: int, last: int) -> Iterator[Place]:
        """Cluster by cluster: the parts from `offset` to `last`, which one table of entries with subclusters speaks of."""
        while offset < last:
            inside = offset % self.header.cluster
            step = min(self.header.cluster - inside, last - offset)
            index = (offset >> self._bits) % self.header.l2_entries
            yield from self._subclusters(table[index * 2], table[index * 2 + 1], inside, step)
            offset += step

    def _runs(self, table: array[int], offset: int, last: int) -> Iterator[Place]:
        """Run by run: the parts from `offset` to `last`, which one table speaks of."""
        cluster = self.header.cluster
        while offset < last:
            inside = offset % cluster
            index = (offset >> self._bits) % self.header.l2_entries
            kind, where, step = self._standard(table[index], inside, min(cluster - inside, last - offset))
            if kind != PACKED:
                end = index + (inside + last - offset + cluster - 1 >> self._bits)
                count = entries.run(table, index, end, cluster if kind == DATA else 0)
                step = min((count << self._bits) - inside, last - offset)
            yield kind, where, step
            offset += step

    def _standard(self, entry: int, inside: int, step: int) -> Place:
        if entry & entries.COMPRESSED:
            return PACKED, entry & ~entries.COPIED, step
        if entry & entries.ZERO and self.header.version > 2:
            return ZERO, 0, step
        host = entry & entries.OFFSET
        return (DATA, self._checked(host) + inside, step) if host else (HOLE, 0, step)

    def _subclusters(self, entry: int, bitmap: int, inside: int, step: int) -> Iterator[Place]:
        if entry & entries.COMPRESSED:
            yield PACKED, entry & ~entries.COPIED, step
            return
        host = entry & entries.OFFSET
        if host and bitmap == entries.ALL:
            yield DATA, self._checked(host) + inside, step
            return
        size = self.header.cluster // 32
        end = inside + step
        while inside < end:
            number = inside // size
            part = min(end, (number + 1) * size) - inside
            if bitmap >> number & 1:
                if not host:
                    raise BadInputError(f"disk {self.store.name}", "a subcluster is allocated in no cluster", "check the image")
                yield DATA, self._checked(host) + inside, part
            else:
                yield (ZERO if bitmap >> 32 + number & 1 else HOLE), 0, part
            inside += part

    def _checked(self, host: int) -> int:
        if host & (self.header.cluster - 1):
            raise BadInputError(f"disk {self.store.name}", "a cluster is not aligned", "check the image")
        return host

    def _table(self, offset: int) -> array[int] | None:
        """The level 2 table for an offset of the disk, None where there is none."""
        index = offset // self._span
        found = self._tables.get(index)
        if found is not None:
            return found
        place = self.l1[index] & entries.OFFSET
        return self._loaded(index, place) if place else None

    def _loaded(self, index: int, place: int) -> array[int]:
        if place % self.header.cluster or place >= self.store.size():
            raise BadInputError(f"disk {self.store.name}", "a level 2 table lies outside the file", "check the image")
        if len(self._tables) * self.header.cluster > _TABLES_MEMORY:
            for old in [old for old in self._tables if old not in self._dirty]:
                del self._tables[old]
        table = self._tables[index] = entries.load(self.store.read(place, self.header.cluster))
        return table

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        yield from joined(self._data())

    def _data(self) -> Iterator[tuple[int, int]]:
        backing = self._backing_data()
        under = next(backing, None)
        at = 0
        for kind, _, span in self.places(0, self.size):
            if kind in (DATA, PACKED):
                yield at, span
            elif kind == HOLE:
                while under is not None and under[0] + under[1] <= at:
                    under = next(backing, None)
                while under is not None and under[0] < at + span:
                    begin, end = max(at, under[0]), min(at + span, sum(under))
                    yield begin, end - begin
                    if sum(under) > at + span:
                        break
                    under = next(backing, None)
            at += span

    def _backing_data(self) -> Iterator[tuple[int, int]]:
        if self.backing is None:
            return
        below: Any = self.backing
        yield from below.data()
