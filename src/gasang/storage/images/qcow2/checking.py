"""Judging a qcow2 image: each cluster's count against what refers to it, and mending the counts."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Iterator

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.storage.images.image import Report
from gasang.storage.images.qcow2 import entries, header
from gasang.storage.images.qcow2.disk import Qcow2
from gasang.storage.images.qcow2.refcounts import Refcounts
from gasang.storage.images.qcow2.snapshots import table_of

CLUSTERS_MAX = 1 << 27
"""Clusters of a file whose uses can be counted: half a GiB of memory."""


class _Uses:
    """How often each cluster of a file is referred to."""

    def __init__(self, disk: Qcow2, report: Report) -> None:
        self.count = -(-disk.store.size() // disk.header.cluster)
        if self.count > CLUSTERS_MAX:
            raise UnsupportedError(f"disk {disk.store.name}", f"it has {self.count} clusters, too many to check", "convert it")
        self.counts = array("I", bytes(4 * self.count))
        self._bits = disk.header.cluster_bits
        self._report = report

    def add(self, what: str, offset: int, length: int, times: int = 1) -> bool:
        """Count a range; False, with an error noted, where it is not wholly inside or not aligned."""
        if (length and offset >> self._bits >= self.count) or -(-(offset + length) >> self._bits) > self.count + 1:
            self._report.error(f"{what} at {offset:#x} lies outside the file")
            return False
        for cluster in range(offset >> self._bits, min(self.count, ((offset + length - 1) >> self._bits) + 1)):
            self.counts[cluster] += times
        return True


def check(disk: Qcow2, *, repair: bool) -> Report:
    """Compare; with `repair`, write counts that are right and drop what refers outside. Raises UnsupportedError, BadInputError, OSError."""
    if repair:
        disk.must_write()
        disk.flush()
    report = Report()
    uses = _Uses(disk, report)
    _count(disk, uses, report, repair=repair)
    wrong = _compare(disk, uses, report)
    _flags(disk, uses, report, repair=repair)
    bad = disk.header.incompatible & (header.DIRTY | header.CORRUPT)
    if repair and (wrong or bad or report.repaired or report.error_count):
        _rebuild(disk, uses)
        report.repaired = report.error_count + report.leaks
    return report


def _count(disk: Qcow2, uses: _Uses, report: Report, *, repair: bool) -> None:
    head = disk.header
    uses.add("header", 0, head.cluster)
    uses.add("level 1 table", head.l1_offset, head.l1_size * 8)
    _count_refcounts(disk, uses)
    snapshots, length = table_of(disk)
    if length:
        uses.add("snapshot table", head.snapshots_offset, length)
    tables: Counter[int] = Counter()
    for l1 in (disk.l1, *(entries.load(disk.store.read(kept.l1_offset, kept.l1_size * 8)) for kept in snapshots)):
        tables.update(entry & entries.OFFSET for entry in l1 if entry & entries.OFFSET)
    for kept in snapshots:
        uses.add(f"table of snapshot {kept.name}", kept.l1_offset, kept.l1_size * 8)
    for offset, times in tables.items():
        if offset % head.cluster or not uses.add("level 2 table", offset, head.cluster, times):
            report.error(f"level 2 table at {offset:#x} is no cluster")
            continue
        _count_table(disk, uses, offset, times, report, repair=repair)
    for offset, span in _bitmaps(disk):
        uses.add("bitmap", offset, span)


def _count_refcounts(disk: Qcow2, uses: _Uses) -> None:
    head = disk.header
    uses.add("refcount table", head.table_offset, head.table_clusters * head.cluster)
    for place in disk.refcounts.table:
        if place & ~511:
            uses.add("refcount block", place & ~511, head.cluster)


def _count_table(disk: Qcow2, uses: _Uses, offset: int, times: int, report: Report, *, repair: bool) -> None:
    head = disk.header
    table = entries.load(disk.store.read(offset, head.cluster))
    step = 2 if head.extended else 1
    for at in range(0, len(table), step):
        entry = table[at]
        if entry <= 1:
            continue
        if entry & entries.COMPRESSED:
            place, span = entries.compressed_place(entry & ~entries.COPIED, head.cluster_bits)
            fine = uses.add("compressed cluster", place, min(span, max(1, disk.store.size() - place)), times)
            fine = fine and not entry & entries.COPIED
        else:
            place = entry & entries.OFFSET
            fine = not place or (not place % head.cluster and uses.add("cluster", place, head.cluster, times))
        if not fine:
            report.error(f"the entry {entry:#x} of the level 2 table at {offset:#x} is wrong")
            if repair:
                table[at] = 0
                if step == 2:
                    table[at + 1] = 0
                disk.store.write(offset + at * 8, bytes(8 * step))
                report.repaired += 1


def _bitmaps(disk: Qcow2) -> Iterator[tuple[int, int]]:
    """What the dirty bitmaps of an image use, where it says that they are valid."""
    head = disk.header
    if not head.autoclear & header.BITMAPS or len(head.bitmaps) < 24:
        return
    count, _, size, at = struct.unpack_from(">IIQQ", head.bitmaps)
    if size > header.L1_MAX or count > 65535:
        raise BadInputError(f"disk {disk.store.name}", "its bitmap directory is damaged", "check the image")
    yield at, size
    directory = disk.store.read(at, size)
    where = 0
    for _ in range(count):
        if where + 24 > len(directory):
            return
        table_at, entries_count, _, _, _, name_length, extra_length = struct.unpack_from(">QIIBBHI", directory, where)
        if entries_count > header.L1_MAX:
            return
        yield table_at, entries_count * 8
        for entry in entries.load(disk.store.read(table_at, entries_count * 8)):
            if entry & entries.OFFSET:
                yield entry & entries.OFFSET, head.cluster
        where += -(-(24 + name_length + extra_length) // 8) * 8


def _compare(disk: Qcow2, uses: _Uses, report: Report) -> bool:
    """Whether any count is wrong."""
    wrong = False
    for cluster in range(max(uses.count, 0)):
        have, need = _counted(disk, cluster), uses.counts[cluster]
        if have > need:
            report.leaks += 1
            wrong = True
        elif have < need:
            report.error(f"cluster {cluster} is used {need} times and counted {have}")
            wrong = True
    return wrong


def _counted(disk: Qcow2, cluster: int) -> int:
    try:
        return disk.refcounts.get(cluster)
    except BadInputError:  # a block outside the file, which was told already
        return 0


def _flags(disk: Qcow2, uses: _Uses, report: Report, *, repair: bool) -> None:
    """The marks that say a cluster is used once, in the tables of the present state."""
    bits, step = disk.header.cluster_bits, 2 if disk.header.extended else 1
    changed_l1 = False
    for index, place in enumerate(disk.l1):
        offset = place & entries.OFFSET
        if not offset or offset >> bits >= uses.count or offset % disk.header.cluster:
            if offset and repair:
                disk.l1[index], changed_l1 = 0, True
            continue
        fit = offset | (entries.COPIED if uses.counts[offset >> bits] == 1 else 0)
        if fit != place:
            report.error(f"entry {index} of level 1 tells wrongly how often its table is used")
            disk.l1[index], changed_l1 = (fit, True) if repair else (place, changed_l1)
        table = entries.load(disk.store.read(offset, disk.header.cluster))
        changed = False
        for at in range(0, len(table), step):
            entry = table[at]
            cluster = (entry & entries.OFFSET) >> bits
            if entry <= 1 or entry & entries.COMPRESSED or not 0 < cluster < uses.count:
                continue
            fit = entry | entries.COPIED if uses.counts[cluster] == 1 else entry & ~entries.COPIED
            if fit != entry:
                report.error(f"an entry of the level 2 table at {offset:#x} tells wrongly how often its cluster is used")
                table[at], changed = fit, True
        if changed and repair:
            disk.store.write(offset, entries.dump(table))
    if changed_l1:
        disk.store.write(disk.header.l1_offset, entries.dump(disk.l1))
    if repair:
        disk.forget()


def _rebuild(disk: Qcow2, uses: _Uses) -> None:
    """New refcounts for the whole file, behind its end; then the header names them, and says that all is well."""
    head = disk.header
    for place in {place & ~511 for place in disk.refcounts.table if place & ~511}:
        if place >> head.cluster_bits < uses.count:
            uses.counts[place >> head.cluster_bits] -= 1
    for cluster in range(head.table_offset >> head.cluster_bits, (head.table_offset >> head.cluster_bits) + head.table_clusters):
        if cluster < uses.count:
            uses.counts[cluster] -= 1
    fresh = Refcounts.empty(disk.store, head, disk.store_header, uses.count)
    for cluster, count in enumerate(uses.counts):
        if count:
            fresh.add(cluster, min(count, fresh.most))
    head.incompatible &= ~(header.DIRTY | header.CORRUPT)
    head.autoclear &= ~header.BITMAPS if not head.bitmaps else ~0
    disk.refcounts = fresh
    disk.flush()
    disk.store_header()
    disk.reload()
    disk.store.flush()
