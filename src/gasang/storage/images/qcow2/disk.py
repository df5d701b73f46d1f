"""A qcow2 image as a disk: reading through its tables, writing with new clusters where a cluster is shared or absent.

Tables change in memory. `flush` puts them into the file in an order that no loss of power can hurt: data and refcounts, then level 2
tables, then the level 1 table, each on stable storage before the next; a cluster that was replaced is free for reuse only after that. Not
locked: one thread at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from gasang.core.errors import BadInputError, StateError
from gasang.core.protocols import Block
from gasang.storage.bounds import check_range
from gasang.storage.images import image
from gasang.storage.images.pieces import joined
from gasang.storage.images.qcow2 import entries, header
from gasang.storage.images.qcow2.compression import expand, shrink
from gasang.storage.images.qcow2.header import Header, l1_needed
from gasang.storage.images.qcow2.refcounts import Refcounts
from gasang.storage.images.store import Store

HOLE, ZERO, DATA, PACKED = range(4)
"""What a part of the disk is: the backing file's, zeroes, bytes at an offset of the file, a compressed cluster's entry."""
_PLAIN = entries.OFFSET | entries.COPIED
"""What an entry of a cluster with bytes of its own consists of."""
_TABLES_MEMORY = 32 << 20
_REGION = 1 << 20
"""Bytes of a file that compressed clusters are packed into, at a time."""
_DIRTY_MAX = 8 << 20
"""Bytes of level 2 tables that wait to be written, at most."""

Place = tuple[int, int, int]
"""Kind, offset in the file or entry, length."""


class Qcow2:
    """An open image over `store`; it owns the backing disk, and closes both."""

    def __init__(self, store: Store, head: Header, backing: Block | None = None) -> None:
        self.store = store
        self.header = head
        self.backing = backing
        self.size = head.size
        self.read_only = store.read_only
        self.compressed_piece = head.cluster
        self._bits = head.cluster_bits
        self._cluster = head.cluster
        self._span = head.l2_entries << head.cluster_bits
        """Bytes of the disk that a level 2 table speaks of."""
        self._wide = 2 if head.extended else 1
        self.l1 = entries.load(store.read(head.l1_offset, head.l1_size * 8))
        self.refcounts = Refcounts(store, head, self.store_header)
        self._tables: dict[int, array[int]] = {}
        self._dirty: set[int] = set()
        self._dirty_l1: set[int] = set()
        self._freed: list[int] = []
        self._tail = self._region_end = 0
        self._unused: set[int] = set()
        self._expanded: tuple[int, bytes] = (-1, b"")
        self._closed = False

    # Reading ---------------------------------------------------------------------------------------------------------------------

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

    # Writing ---------------------------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk, if it is read-only or if the host fails."""
        image.check_write(self, offset, len(data))
        view = memoryview(data)
        at = 0
        while at < len(view):
            table = self._own_table(offset)
            last = min(offset + len(view) - at, (offset // self._span + 1) * self._span)
            while offset < last:
                done = self._write_run(table, offset, view[at : at + last - offset])
                offset += done
                at += done
            if len(self._dirty) * self.header.cluster > _DIRTY_MAX:
                self._commit()

    def _write_run(self, table: array[int], offset: int, view: memoryview) -> int:
        """Write the begin of `view`, as far as one way of writing does it; the bytes done."""
        first = (offset >> self._bits) % self.header.l2_entries
        count = 1
        most = (offset % self.header.cluster + len(view) + self.header.cluster - 1) >> self._bits
        host = self._writable(table, first)
        while count < most:
            other = self._writable(table, first + count)
            if (host and other != host + (count << self._bits)) or (not host and other):
                break
            count += 1
        done = min((count << self._bits) - offset % self.header.cluster, len(view))
        if host:
            self.store.write(host + offset % self.header.cluster, view[:done])
            return done
        return self._write_new(table, first, count, offset, view[:done])

    def _writable(self, table: array[int], index: int) -> int:
        """Where the cluster can be written as it is, 0 if it cannot."""
        entry = table[index * self._wide]
        if not entry & entries.COPIED or entry & entries.COMPRESSED:
            return 0
        if self._wide == 2 and table[index * 2 + 1] != entries.ALL:
            return 0
        if self._wide == 1 and entry & entries.ZERO and self.header.version > 2:
            return 0
        return self._checked(entry & entries.OFFSET)

    def _write_new(self, table: array[int], first: int, count: int, offset: int, view: memoryview) -> int:
        """Give clusters from the table's `first` on new places, with `view` at `offset` and what was there around it; the bytes done."""
        place, count = self.refcounts.allocate(count)
        inside = offset % self.header.cluster
        done = min((count << self._bits) - inside, len(view))
        end = offset + done
        tail = min(-end % self.header.cluster, self.size - end)
        head = self.read(offset - inside, inside) if inside else b""
        body: bytes | memoryview = view[:done]
        if head or tail:
            body = b"".join((head, body, self.read(end, tail) if tail else b""))
        body_end = -len(body) % self.header.cluster
        self.store.write(place << self._bits, b"".join((body, bytes(body_end))) if body_end else body)
        for step in range(count):
            self._replace(table, first + step, (place + step) << self._bits | entries.COPIED)
        self._dirty.add(offset // self._span)
        return done

    def _replace(self, table: array[int], index: int, entry: int, bitmap: int = entries.ALL) -> None:
        """Put a new entry into a table; what the old one used is free after the next flush."""
        old = table[index * self._wide]
        table[index * self._wide] = entry
        if self._wide == 2:
            table[index * 2 + 1] = bitmap
        self._freed.extend(self.used_by(old))

    def used_by(self, entry: int) -> Iterator[int]:
        """The clusters of the file that an entry counts in."""
        if entry & entries.COMPRESSED:
            yield from entries.touched(entry & ~entries.COPIED, self._bits)
        elif entry & entries.OFFSET:
            yield (entry & entries.OFFSET) >> self._bits

    def _own_table(self, offset: int) -> array[int]:
        """The level 2 table for an offset, the image's own to change."""
        index = offset // self._span
        table = self._table(offset)
        if table is not None and self.l1[index] & entries.COPIED:
            return table
        place, _ = self.refcounts.allocate(1)
        old = self.l1[index] & entries.OFFSET
        self.l1[index] = place << self._bits | entries.COPIED
        self._dirty_l1.add(index)
        if table is None:
            table = self._tables[index] = array("Q", bytes(self.header.cluster))
        self._dirty.add(index)
        if old:
            self._freed.append(old >> self._bits)
        return table

    def discard(self, offset: int, length: int) -> None:
        """Give back whole clusters: the range reads as zeroes. Raise OSError as `write` does."""
        image.check_write(self, offset, length)
        end = offset + length
        cluster = self.header.cluster
        first, last = -(-offset // cluster) * cluster, (end if end == self.size else end // cluster * cluster)
        if first >= last:
            self._wipe(offset, length)
            return
        self._wipe(offset, first - offset)
        self._wipe(last, end - last)
        while first < last:
            stop = min(last, (first // self._span + 1) * self._span)
            self._drop(first, stop)
            first = stop

    def _wipe(self, offset: int, length: int) -> None:
        """Zeroes where anything else stands; at most two clusters."""
        if length and any(kind != ZERO and (kind != HOLE or self.backing) for kind, _, _ in self.places(offset, length)):
            self.write(offset, bytes(length))

    def _drop(self, first: int, last: int) -> None:
        """Have whole clusters, of one level 2 table, read as zeroes without a place of their own."""
        if self._table(first) is None and self.backing is None:
            return
        if self.header.version == 2 and self.backing is not None:  # it has no way to say so
            for at in range(first, last, self.header.cluster):
                self._wipe(at, min(self.header.cluster, last - at))
            return
        table = self._own_table(first)
        covered = self.backing is not None
        entry = entries.ZERO if covered and self._wide == 1 else 0
        for at in range(first, last, self.header.cluster):
            index = (at >> self._bits) % self.header.l2_entries
            self._replace(table, index, entry, entries.ALL << 32 if covered else 0)
        self._dirty.add(first // self._span)
        if len(self._dirty) * self.header.cluster > _DIRTY_MAX:
            self._commit()

    # Compressed pieces -------------------------------------------------------------------------------------------------------------

    def compress(self, data: bytes) -> bytes | None:
        """A cluster made small, None if that does not help. Safe from any thread."""
        return shrink(data.ljust(self.header.cluster, b"\0"), self.header.compression)

    def write_compressed(self, offset: int, packed: bytes) -> None:
        """Store what `compress` made of the cluster at `offset`; the clusters of the file are shared by those that fit."""
        image.check_write(self, offset, min(self.header.cluster, self.size - offset))
        table = self._own_table(offset)
        if self._full(len(packed)):
            self._begin_region(len(packed))
        entry = entries.compressed_entry(self._tail, len(packed), self._bits)
        for cluster in entries.touched(entry, self._bits):
            if cluster in self._unused:
                self._unused.remove(cluster)  # it was counted as used when the region was
            else:
                self.refcounts.add(cluster)
        self.store.write(self._tail, packed)
        self._tail += len(packed)
        self._replace(table, (offset >> self._bits) % self.header.l2_entries, entry, 0)
        self._dirty.add(offset // self._span)

    def _full(self, length: int) -> bool:
        """Whether the region of compressed clusters has no place for `length` bytes more, at its tail or a cluster later."""
        here = self._tail >> self._bits
        if here not in self._unused and self._tail < self._region_end and self.refcounts.get(here) >= self.refcounts.most:
            self._tail = here + 1 << self._bits
        return self._tail + length > self._region_end

    def _begin_region(self, length: int) -> None:
        self._freed.extend(self._unused)
        count = max(_REGION >> self._bits, -(-length // self.header.cluster))
        first = self.refcounts.allocate_all(count)
        self._unused = set(range(first, first + count))
        self._tail, self._region_end = first << self._bits, first + count << self._bits

    # Keeping -----------------------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        if self.read_only:
            return
        self._commit()

    def _commit(self) -> None:
        self.refcounts.write()
        self.store.flush()
        if self._dirty:
            for index in sorted(self._dirty):
                self.store.write(self.l1[index] & entries.OFFSET, entries.dump(self._tables[index]))
            self._dirty.clear()
            self.store.flush()
        if self._dirty_l1:
            for index in sorted(self._dirty_l1):
                self.store.write(self.header.l1_offset + index * 8, self.l1[index].to_bytes(8, "big"))
            self._dirty_l1.clear()
            self.store.flush()
        freed, self._freed = self._freed + self.refcounts.old_tables, []
        self.refcounts.old_tables.clear()
        for cluster in freed:
            self.refcounts.free(cluster)
        if freed and self._region_end and not self.refcounts.get(self._tail >> self._bits):
            self._region_end = 0  # all that was packed into this cluster is gone, and it may become another's

    def store_header(self) -> None:
        """Write the header as it is now."""
        data = header.make(self.header)
        self.store.write(0, data.ljust(self.header.cluster, b"\0"))

    def close(self) -> None:
        """Keep what was written, and give the files back; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self.read_only:
                self._settle()
        finally:
            self.store.close()
            if self.backing is not None:
                self.backing.close()

    def _settle(self) -> None:
        """Everything in the file, what is free counted as such."""
        self._freed.extend(self.refcounts.give_up_end(self._unused))
        self._unused, self._region_end = set(), 0
        self._commit()
        if self.refcounts.dirty:
            self._commit()
        end = self.refcounts.end << self._bits
        if self.store.size() < end:
            self.store.truncate(end)

    def reload(self) -> None:
        """Forget tables in memory, all of which are in the file, after the header has changed."""
        self._settle()
        self.size = self.header.size
        self.l1 = entries.load(self.store.read(self.header.l1_offset, self.header.l1_size * 8))
        self.forget()

    def forget(self) -> None:
        """Drop tables in memory, which are those in the file or about to be replaced."""
        self._tables.clear()
        self._expanded = (-1, b"")

    # Telling -----------------------------------------------------------------------------------------------------------------------

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

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        head = self.header
        facts: dict[str, Any] = {
            "version": head.version,
            "cluster_size": head.cluster,
            "compression": "zstd" if head.compression else "zlib",
            "refcount_bits": 1 << head.refcount_order,
            "lazy_refcounts": bool(head.compatible & header.LAZY),
            "extended_l2": head.extended,
            "dirty": bool(head.incompatible & header.DIRTY),
            "corrupt": bool(head.incompatible & header.CORRUPT),
            "snapshots": head.snapshots,
        }
        if head.backing:
            facts |= {"backing": head.backing, "backing_format": head.backing_format}
        return facts

    def check(self, *, repair: bool = False) -> image.Report:
        """Judge refcounts and tables, and mend them."""
        from gasang.storage.images.qcow2.checking import check

        return check(self, repair=repair)

    def resize(self, size: int) -> None:
        """The disk has `size` bytes from now on. Raises StateError where snapshots stand in the way, OSError."""
        from gasang.storage.images.qcow2.resizing import resize

        resize(self, size)

    def must_write(self) -> None:
        """Raise StateError unless the image is open for writing."""
        if self.read_only:
            raise StateError(f"disk {self.store.name}", "it is open for reading only", "open it for writing")

    def l1_for(self, size: int) -> int:
        """Entries of level 1 that a disk of `size` bytes needs."""
        return l1_needed(size, self.header)
