"""A larger or smaller disk in the same qcow2 image."""

from __future__ import annotations

from gasang.core.errors import StateError, UsageError
from gasang.storage.images.qcow2.disk import Qcow2
from gasang.storage.images.qcow2.header import L1_MAX


def resize(disk: Qcow2, size: int) -> None:
    """Have the disk of `disk` be `size` bytes, whole sectors. What is cut off is given back; what is new reads as zeroes.

    Raises StateError for a smaller disk with snapshots, UsageError for a size that the clusters do not allow, OSError.
    """
    disk.must_write()
    head = disk.header
    size = -(-size // 512) * 512
    needed = disk.l1_for(size)
    if needed > L1_MAX:
        raise UsageError(f"size {size}", f"it is too large for clusters of {head.cluster} bytes", "convert it with larger clusters")
    if size < disk.size:
        if head.snapshots:
            raise StateError(f"disk {disk.store.name}", "it has snapshots, and does not become smaller", "remove them first")
        disk.discard(size, disk.size - size)
        disk.flush()
    else:
        _hide_backing(disk, size, needed)
    if needed > head.l1_size:
        _longer_table(disk, needed)
    head.size = size
    disk.store_header()
    disk.store.flush()
    disk.reload()


def _hide_backing(disk: Qcow2, size: int, needed: int) -> None:
    """What a longer backing file has behind the old end must not appear: it reads as zeroes."""
    if disk.backing is None or disk.backing.size <= disk.size:
        return
    old, disk.size = disk.size, size
    if needed > disk.header.l1_size:
        _longer_table(disk, needed)
    disk.discard(old, min(size, disk.backing.size) - old)
    disk.flush()


def _longer_table(disk: Qcow2, needed: int) -> None:
    """A level 1 table of `needed` entries in a new place; the old one's clusters are free once the header names it."""
    head = disk.header
    disk.flush()
    old = range(head.l1_offset // head.cluster, -(-(head.l1_offset + head.l1_size * 8) // head.cluster)) if head.l1_size else range(0)
    first = disk.refcounts.allocate_all(-(-needed * 8 // head.cluster))
    whole = -(-needed * 8 // head.cluster) * head.cluster
    disk.store.write(first * head.cluster, disk.store.read(head.l1_offset, head.l1_size * 8).ljust(whole, b"\0"))
    disk.flush()
    head.l1_offset, head.l1_size = first * head.cluster, needed
    disk.l1.extend([0] * (needed - len(disk.l1)))
    disk.store_header()
    disk.store.flush()
    for cluster in old:
        disk.refcounts.free(cluster)
