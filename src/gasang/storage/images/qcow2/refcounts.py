"""How often each cluster of a qcow2 file is used, and finding clusters that are not (docs/interop/qcow2.txt, "Reference count management").

Counts are raised before anything on the disk refers to a cluster, and lowered after nothing does: who loses power in between has
leaks, never a cluster that two things think is theirs.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable

from gasang.core.errors import BadInputError, StateError
from gasang.storage.images.qcow2 import entries
from gasang.storage.images.qcow2.header import TABLE_MAX, Header
from gasang.storage.images.store import Store

_WIDE = {3: "B", 4: "H", 5: "I", 6: "Q"}
_PER_SECTOR = 64
"""Entries of the table that a sector of the host's disk holds."""
_KEPT = 64
"""Blocks of refcounts that are held in memory unchanged."""


def unpack(data: bytes, order: int) -> array[int]:
    """The counts of a block, each of 2^`order` bits; narrow ones begin at a byte's low bits."""
    if order >= 3:
        counts = array(_WIDE[order], data)
        if sys.byteorder == "little":
            counts.byteswap()
        return counts
    width = 1 << order
    mask = (1 << width) - 1
    spread = [bytes(byte >> shift & mask for shift in range(0, 8, width)) for byte in range(256)]
    return array("B", b"".join(map(spread.__getitem__, data)))


def pack(counts: array[int], order: int) -> bytes:
    """The bytes of a block of counts."""
    if order >= 3:
        return _swapped(counts)
    width = 1 << order
    step = 8 // width
    made = bytearray(len(counts) // step)
    for place in range(step):
        part = counts[place::step].tobytes()
        shift = place * width
        table = bytes(value << shift & 0xFF for value in range(256))
        made = bytearray((int.from_bytes(made, "little") | int.from_bytes(part.translate(table), "little")).to_bytes(len(made), "little"))
    return bytes(made)


def _swapped(counts: array[int]) -> bytes:
    copy = counts[:]
    if sys.byteorder == "little":
        copy.byteswap()
    return copy.tobytes()


class Refcounts:
    """The refcounts of one image. `store_header` writes the header when the table has moved."""

    def __init__(self, store: Store, header: Header, store_header: Callable[[], None]) -> None:
        self._store = store
        self._header = header
        self._store_header = store_header
        self._bits = header.cluster_bits
        self.per_block = (header.cluster * 8) >> header.refcount_order
        self.most = (1 << (1 << header.refcount_order)) - 1
        self.table = entries.load(store.read(header.table_offset, header.table_clusters << self._bits))
        self._blocks: dict[int, array[int]] = {}
        self._dirty: set[int] = set()
        self._new_entries: set[int] = set()
        self._moved = False
        self._free: list[int] = []
        self._looked = 0
        self.old_tables: list[int] = []
        """Clusters of tables that were replaced, to be freed after a flush."""
        self.end = -(-store.size() // header.cluster)
        """The first cluster that is behind the file and counted nowhere."""
        if not store.read_only:
            self.end = max(self.end, self._last() + 1)

    def get(self, cluster: int) -> int:
        """How often a cluster is used. Raises BadInputError for a block that lies nowhere."""
        index = cluster // self.per_block
        if index >= len(self.table) or not self.table[index]:
            return 0
        return self._block(index)[cluster % self.per_block]

    def _block(self, index: int) -> array[int]:
        found = self._blocks.get(index)
        if found is None:
            offset = self.table[index] & ~511
            if offset % self._header.cluster or offset >= self._store.size():
                raise BadInputError(
                    f"disk {self._store.name}", "a refcount block lies outside the file", "repair it with gasang image check"
                )
            if len(self._blocks) >= _KEPT:
                self._forget()
            found = self._blocks[index] = unpack(self._store.read(offset, self._header.cluster), self._header.refcount_order)
        return found

    def _forget(self) -> None:
        for index in [index for index in self._blocks if index not in self._dirty]:
            del self._blocks[index]

    def add(self, cluster: int, amount: int = 1) -> int:
        """Change a count by `amount`; what it is now. Raises StateError where the width of the counts does not allow it."""
        index = cluster // self.per_block
        self._ensure(index)
        block = self._block(index)
        count = block[cluster % self.per_block] + amount
        if count < 0:
            raise BadInputError(
                f"disk {self._store.name}", f"cluster {cluster} is used but counted as free", "repair it with gasang image check"
            )
        if count > self.most:
            width = 1 << self._header.refcount_order
            raise StateError(f"disk {self._store.name}", f"a cluster is shared more often than {width} bits can count", "convert it")
        block[cluster % self.per_block] = count
        self._dirty.add(index)
        return count

    def set_run(self, first: int, count: int) -> None:
        """Count a run of clusters, so far free, as used once."""
        while count:
            index, at = divmod(first, self.per_block)
            self._ensure(index)
            step = min(count, self.per_block - at)
            block = self._block(index)
            block[at : at + step] = array(block.typecode, [1]) * step
            self._dirty.add(index)
            first += step
            count -= step

    def _ensure(self, index: int) -> None:
        if index >= len(self.table):
            self._grow(index)
        if self.table[index]:
            return
        cluster = self.end
        self.end += 1
        self.table[index] = cluster << self._bits
        code = _WIDE.get(self._header.refcount_order, "B")
        self._blocks[index] = array(code, bytes(self.per_block * array(code).itemsize))
        self._dirty.add(index)
        self._new_entries.add(index)
        self.set_run(cluster, 1)

    def _grow(self, index: int) -> None:
        """A larger table, at the end of the file; the old one's clusters are free once the header names the new one."""
        per_cluster = self._header.cluster // 8
        clusters = -(-max(index + 2, len(self.table) * 3 // 2) // per_cluster)
        if clusters << self._bits > TABLE_MAX:
            raise StateError(f"disk {self._store.name}", "the file is as large as its refcounts allow", "convert it with larger clusters")
        old = range(self._header.table_offset >> self._bits, (self._header.table_offset >> self._bits) + self._header.table_clusters)
        self.table.extend(bytes(clusters * per_cluster - len(self.table)))
        first = self.end
        self.end += clusters
        self._header.table_offset, self._header.table_clusters = first << self._bits, clusters
        self._moved = True
        self.set_run(first, clusters)
        self.old_tables.extend(old)

    @classmethod
    def empty(cls, store: Store, header: Header, store_header: Callable[[], None], clusters: int) -> Refcounts:
        """Counts of a file of `clusters` clusters, none of them used, with tables of their own behind its end."""
        header.table_clusters = 0
        made = cls(store, header, store_header)
        made.end = max(clusters, -(-store.size() // header.cluster))
        made._blocks.clear()
        made._looked = 1 << 62
        per_cluster = header.cluster // 8
        blocks = -(-made.end // made.per_block) + 2
        made.table = array("Q", bytes(-(-blocks // per_cluster) * header.cluster))
        first = made.end
        made.end += len(made.table) // per_cluster
        header.table_offset, header.table_clusters = first << header.cluster_bits, len(made.table) // per_cluster
        made._moved = True
        made.set_run(first, header.table_clusters)
        return made

    def _last(self) -> int:
        """The last cluster that is counted as used."""
        for index in range(len(self.table) - 1, -1, -1):
            if self.table[index]:
                try:
                    block = self._block(index)
                except BadInputError:  # whoever needs this block is told
                    continue
                raw = block.tobytes().rstrip(b"\0")
                return index * self.per_block + (len(raw) - 1) // block.itemsize if raw else -1
        return -1

    def allocate(self, count: int) -> tuple[int, int]:
        """The first of at most `count` clusters in a row (and how many), counted as used once."""
        if not self._free:
            self._look()
        if self._free:
            first = self._free.pop()
            have = 1
            while have < count and self._free and self._free[-1] == first + have:
                self._free.pop()
                have += 1
            self.set_run(first, have)
            return first, have
        first = self._take_end(count)
        return first, count

    def allocate_all(self, count: int) -> int:
        """The first of `count` clusters in a row, at the end of the file, counted as used once."""
        return self._take_end(count)

    def _take_end(self, count: int) -> int:
        while True:
            last = self.end + count - 1
            before = self.end
            for index in range(self.end // self.per_block, last // self.per_block + 1):
                self._ensure(index)
            if self.end == before:
                break
        first = self.end
        self.end += count
        self.set_run(first, count)
        return first

    def _look(self) -> None:
        """Find clusters that nobody uses in the next blocks that have any."""
        last = min(-(-self.end // self.per_block), len(self.table))
        while self._looked < last and not self._free:
            index = self._looked
            self._looked += 1
            if not self.table[index]:
                continue
            block = self._block(index)
            first = index * self.per_block
            raw = block.tobytes()
            width = block.itemsize
            found = [
                first + at
                for run in re.finditer(b"\0+", raw)
                for at in range(-(-run.start() // width), min(run.end() // width, self.end - first))
                if first + at
            ]
            self._free = found[::-1]

    def free(self, cluster: int) -> None:
        """One use less; nothing that is on the disk may refer to it any more."""
        if self.add(cluster, -1) == 0:
            self._free.append(cluster)

    def give_up_end(self, unused: set[int]) -> set[int]:
        """Have the file end before those of `unused` that are its last clusters, which nothing refers to; the others."""
        while self.end - 1 in unused:
            self.end -= 1
            self.add(self.end, -1)
        return {cluster for cluster in unused if cluster < self.end}

    def _write_entries(self) -> None:
        """A block may be counted in one that is new as well, an earlier one: so sector by sector, each of which is written whole or not."""
        sectors = sorted({index // _PER_SECTOR for index in self._new_entries})
        for number, sector in enumerate(sectors):
            if number:
                self._store.flush()
            first = sector * _PER_SECTOR
            self._store.write(self._header.table_offset + first * 8, entries.dump(self.table[first : first + _PER_SECTOR]))

    @property
    def dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self._dirty or self._new_entries or self._moved)

    def write(self) -> None:
        """Put what changed into the file, each step on stable storage before what refers to it; the last one is not synced."""
        for index in sorted(self._dirty):
            self._store.write(self.table[index] & ~511, pack(self._blocks[index], self._header.refcount_order))
        self._dirty.clear()
        if self._moved or self._new_entries:
            self._store.flush()
        if self._moved:
            self._store.write(self._header.table_offset, entries.dump(self.table))
            self._store.flush()
            self._store_header()
            self._moved = False
        else:
            self._write_entries()
        self._new_entries.clear()
        if len(self._blocks) > _KEPT:
            self._forget()
