"""A qcow2 image as a disk: reading through its tables, writing with new clusters where a cluster is shared or absent.

Tables change in memory. `flush` puts them into the file in an order that no loss of power can hurt: data and refcounts, then level 2
tables, then the level 1 table, each on stable storage before the next; a cluster that was replaced is free for reuse only after that. Not
locked: one thread at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from gasang.core.errors import StateError
from gasang.core.protocols import Block
from gasang.storage.images import image
from gasang.storage.images.qcow2 import entries, header
from gasang.storage.images.qcow2.compression import shrink
from gasang.storage.images.qcow2.header import Header, l1_needed
from gasang.storage.images.qcow2.mapped import HOLE, ZERO, Mapped
from gasang.storage.images.qcow2.packing import Packing
from gasang.storage.images.qcow2.refcounts import Refcounts
from gasang.storage.images.store import File, Store, put
from gasang.storage.images.stretch import Stretch

_DIRTY_MAX = 8 << 20
"""Bytes of level 2 tables that wait to be written, at most."""


class Qcow2(Mapped):
    """An open image over `store`; it owns the backing disk, and closes both."""

    def __init__(self, store: Store, head: Header, backing: Block | None = None) -> None:
        super().__init__(store, head, backing)
        self.read_only = store.read_only
        self.compressed_piece = head.cluster
        if not self.read_only:
            self.refcounts = Refcounts(store, head, self.store_header)  # what is wrong with them is told at once
        self._dirty_l1: set[int] = set()
        self._freed: list[int] = []
        self._packing = Packing(self._bits)
        self._closed = False

    @cached_property
    def refcounts(self) -> Refcounts:
        """The use counts; who only reads the disk does without."""
        return Refcounts(self.store, self.header, self.store_header)

    # Writing ---------------------------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk, if it is read-only or if the host fails."""
        self._write(offset, memoryview(data))

    def take(self, offset: int, stretch: Stretch) -> None:
        """As `write`, of what lies in another file."""
        self._write(offset, stretch)

    def _write(self, offset: int, view: memoryview | Stretch) -> None:
        image.check_write(self, offset, len(view))
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

    def _write_run(self, table: array[int], offset: int, view: memoryview | Stretch) -> int:
        """Write the begin of `view`, as far as one way of writing does it; the bytes done."""
        first = (offset >> self._bits) % self.header.l2_entries
        most = (offset % self.header.cluster + len(view) + self.header.cluster - 1) >> self._bits
        if not any(table[first * self._wide : (first + most) * self._wide]):  # as all of a new image is
            return self._write_new(table, first, most, offset, view)
        count = 1
        host = self._writable(table, first)
        while count < most:
            other = self._writable(table, first + count)
            if (host and other != host + (count << self._bits)) or (not host and other):
                break
            count += 1
        done = min((count << self._bits) - offset % self.header.cluster, len(view))
        if host:
            put(self.store, host + offset % self.header.cluster, view[:done])
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

    def _write_new(self, table: array[int], first: int, count: int, offset: int, view: memoryview | Stretch) -> int:
        """Give clusters from the table's `first` on new places, with `view` at `offset` and what was there around it; the bytes done."""
        place, count = self.refcounts.allocate(count)
        inside = offset % self.header.cluster
        done = min((count << self._bits) - inside, len(view))
        end = offset + done
        tail = min(-end % self.header.cluster, self.size - end)
        head = self.read(offset - inside, inside) if inside else b""
        body = view[:done]
        if head or tail:
            body = memoryview(b"".join((head, bytes(body), self.read(end, tail) if tail else b"")))
        if len(body) % self.header.cluster:
            body = memoryview(bytes(body).ljust(count << self._bits, b"\0"))
        put(self.store, place << self._bits, body)
        self._name(table, first, place, count)
        self._dirty.add(offset // self._span)
        return done

    def _name(self, table: array[int], first: int, place: int, count: int) -> None:
        """Have `count` entries of a table name the clusters from `place` on."""
        begin, step = place << self._bits | entries.COPIED, self.header.cluster
        if self._wide == 1 and not any(table[first : first + count]):
            table[first : first + count] = array("Q", range(begin, begin + count * step, step))
            return
        for index in range(count):
            self._replace(table, first + index, begin + index * step)

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
        place = self._packing.place(self.refcounts, len(packed))
        self.store.write(place, packed)
        entry = entries.compressed_entry(place, len(packed), self._bits)
        self._replace(table, (offset >> self._bits) % self.header.l2_entries, entry, 0)
        self._dirty.add(offset // self._span)

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
        freed = [*self._freed, *self._packing.given_up, *self.refcounts.old_tables]
        for done in (self._freed, self._packing.given_up, self.refcounts.old_tables):
            done.clear()
        for cluster in freed:
            self.refcounts.free(cluster)
        if freed:
            self._packing.freed(self.refcounts)

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

    def seal(self) -> None:
        """It is only read from now on, by others too. Raises OSError."""
        self._settle()
        if isinstance(self.store, File):
            self.store.seal()
        self.read_only = True

    def _settle(self) -> None:
        """Everything in the file, what is free counted as such."""
        self._packing.end(self.refcounts)
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
