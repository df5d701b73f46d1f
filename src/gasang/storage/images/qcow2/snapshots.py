"""Internal snapshots: states of the disk that share clusters with it (docs/interop/qcow2.txt, "Snapshots").

While counts are being changed the image carries the mark that says so (version 3), so that what a power cut leaves is mended when
it is opened.
"""

from __future__ import annotations

import contextlib
import struct
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.storage.images.image import SIZE_MAX
from gasang.storage.images.qcow2 import entries, header
from gasang.storage.images.qcow2.disk import Qcow2

_FIXED = struct.Struct(">QIHHIIQII")
TABLE_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One kept state. `size` is that of the disk then; `vm_state` bytes of a machine's state lie behind it."""

    identity: str
    name: str
    seconds: int
    size: int
    l1_offset: int
    l1_size: int
    nanoseconds: int = 0
    vm_clock: int = 0
    vm_state: int = 0
    extra: bytes = b""


def parse(data: bytes, count: int, disk_size: int, name: str) -> list[Snapshot]:
    """The `count` snapshots of a table. Raises BadInputError for one that is damaged."""
    damaged = BadInputError(f"disk {name}", "its snapshot table is damaged", "check the image")
    found = []
    at = 0
    for _ in range(count):
        if at + _FIXED.size > len(data):
            raise damaged
        l1_at, l1_size, id_length, name_length, seconds, nanoseconds, clock, state, extra_length = _FIXED.unpack_from(data, at)
        at += _FIXED.size
        end = at + extra_length + id_length + name_length
        if extra_length > 1024 or end > len(data) or l1_size > header.L1_MAX:
            raise damaged
        extra = data[at : at + extra_length]
        texts = data[at + extra_length : end]
        size, vm_state = disk_size, state
        if extra_length >= 8:
            vm_state = int.from_bytes(extra[:8], "big")
        if extra_length >= 16:
            size = int.from_bytes(extra[8:16], "big")
        identity, label = (part.decode("utf-8", "backslashreplace") for part in (texts[:id_length], texts[id_length:]))
        found.append(Snapshot(identity, label, seconds, size, l1_at, l1_size, nanoseconds, clock, vm_state, extra[16:]))
        at = end + -end % 8
    return found


def make(snapshots: list[Snapshot]) -> bytes:
    """The bytes of a snapshot table."""
    parts = []
    for kept in snapshots:
        identity, name = kept.identity.encode(), kept.name.encode()
        extra = struct.pack(">QQ", kept.vm_state, kept.size) + kept.extra
        small = min(kept.vm_state, 0xFFFFFFFF)
        fixed = _FIXED.pack(
            kept.l1_offset, kept.l1_size, len(identity), len(name), kept.seconds, kept.nanoseconds, kept.vm_clock, small, len(extra)
        )
        body = fixed + extra + identity + name
        parts.append(body + bytes(-len(body) % 8))
    return b"".join(parts)


def table_of(disk: Qcow2) -> tuple[list[Snapshot], int]:
    """The snapshots of an image, and the bytes of their table. Raises BadInputError."""
    head = disk.header
    if not head.snapshots:
        return [], 0
    room = max(0, min(disk.store.size() - head.snapshots_offset, TABLE_MAX))
    found = parse(disk.store.read(head.snapshots_offset, room), head.snapshots, head.size, disk.store.name)
    for kept in found:
        if kept.l1_offset % head.cluster or kept.l1_offset + kept.l1_size * 8 > disk.store.size() + head.cluster:
            raise BadInputError(f"disk {disk.store.name}", f"the tables of snapshot {kept.name!r} lie outside the file", "check the image")
    return found, len(make(found))


def find(disk: Qcow2, name: str) -> Snapshot:
    """The snapshot of that name or id. Raises NotFoundError."""
    found, _ = table_of(disk)
    for kept in found:
        if name in (kept.name, kept.identity):
            return kept
    raise NotFoundError(f"snapshot {name}", f"disk {disk.store.name} has none of that name", "gasang image snapshot ls lists them")


def view(disk: Qcow2, name: str) -> None:
    """Have an image that is open for reading be what it was at a snapshot. Raises NotFoundError, BadInputError."""
    kept = find(disk, name)
    _check_l1(disk, kept)
    disk.l1 = entries.load(disk.store.read(kept.l1_offset, kept.l1_size * 8))
    disk.size = kept.size
    disk.forget()


def create(disk: Qcow2, name: str) -> Snapshot:
    """Keep the present state. Raises StateError if the name is taken or counts are too narrow, OSError."""
    disk.must_write()
    found, _ = table_of(disk)
    if any(name == kept.name for kept in found):
        raise StateError(f"snapshot {name}", "there is one of that name", "take another name, or remove it first")
    if not name or len(name.encode()) > 1000:
        raise BadInputError("snapshot", "its name is empty or too long", "name it with a few letters")
    if disk.refcounts.most < 2:
        raise StateError(
            f"disk {disk.store.name}", "its use counts have one bit and allow no snapshots", "convert it with refcount_bits=16"
        )
    disk.flush()
    _check_counts(disk)
    with marked(disk):
        l1 = disk.l1
        count_tree(disk, l1, 1)
        _mark_copied(disk)
        first = disk.refcounts.allocate_all(max(1, -(-len(l1) * 8 // disk.header.cluster)))
        disk.store.write(first * disk.header.cluster, entries.dump(array("Q", (entry & ~entries.COPIED for entry in l1))))
        identity = str(max((int(kept.identity) for kept in found if kept.identity.isdecimal()), default=0) + 1)
        now = time.time_ns()
        made = Snapshot(identity, name, now // 10**9, disk.size, first * disk.header.cluster, len(l1), now % 10**9)
        _replace_table(disk, [*found, made])
    return made


def apply(disk: Qcow2, name: str) -> None:
    """Have the disk be what it was at a snapshot. Raises NotFoundError, BadInputError, OSError."""
    disk.must_write()
    kept = find(disk, name)
    _check_l1(disk, kept)
    with marked(disk):
        count_tree(disk, entries.load(disk.store.read(kept.l1_offset, kept.l1_size * 8)), 1)
        old, old_at = disk.l1[:], disk.header.l1_offset
        needed = max(kept.l1_size, disk.l1_for(kept.size), 1)
        first = disk.refcounts.allocate_all(-(-needed * 8 // disk.header.cluster))
        data = disk.store.read(kept.l1_offset, kept.l1_size * 8)
        disk.store.write(first * disk.header.cluster, data.ljust(-(-needed * 8 // disk.header.cluster) * disk.header.cluster, b"\0"))
        disk.flush()
        head = disk.header
        head.l1_offset, head.l1_size, head.size = first * head.cluster, needed, kept.size
        disk.store_header()
        disk.store.flush()
        count_tree(disk, old, -1)
        for cluster in range(old_at // head.cluster, -(-(old_at + len(old) * 8) // head.cluster)):
            disk.refcounts.free(cluster)
        disk.reload()
        _mark_copied(disk)


def delete(disk: Qcow2, name: str) -> None:
    """Forget a snapshot; what it alone used is free. Raises NotFoundError, BadInputError, OSError."""
    disk.must_write()
    gone = find(disk, name)
    found, _ = table_of(disk)
    with marked(disk):
        _replace_table(disk, [kept for kept in found if kept != gone])
        count_tree(disk, entries.load(disk.store.read(gone.l1_offset, gone.l1_size * 8)), -1)
        for cluster in range(gone.l1_offset // disk.header.cluster, -(-(gone.l1_offset + gone.l1_size * 8) // disk.header.cluster)):
            disk.refcounts.free(cluster)
        _mark_copied(disk)


def _check_l1(disk: Qcow2, kept: Snapshot) -> None:
    if kept.size > SIZE_MAX or kept.l1_size < disk.l1_for(kept.size):
        raise BadInputError(f"disk {disk.store.name}", f"the tables of snapshot {kept.name!r} are too small", "check the image")


@contextlib.contextmanager
def marked(disk: Qcow2) -> Iterator[None]:
    """While this lasts, the image says that its counts may be wrong."""
    disk.flush()
    head = disk.header
    if head.version > 2:
        head.incompatible |= header.DIRTY
        disk.store_header()
        disk.store.flush()
    yield
    disk.reload()
    disk.store.flush()
    if head.version > 2:
        head.incompatible &= ~header.DIRTY
        disk.store_header()
        disk.store.flush()


def count_tree(disk: Qcow2, l1: array[int], amount: int) -> None:
    """Change the counts of all level 2 tables of `l1`, and of what they speak of, by one; at 0 a cluster is free."""
    counts = disk.refcounts
    for place in l1:
        offset = place & entries.OFFSET
        if not offset:
            continue
        for cluster in clusters_of(disk, offset):
            if amount > 0:
                counts.add(cluster)
            else:
                counts.free(cluster)
        if amount > 0:
            counts.add(offset >> disk.header.cluster_bits)
        else:
            counts.free(offset >> disk.header.cluster_bits)


def _check_counts(disk: Qcow2) -> None:
    """Raise StateError where one more use of what the present state uses is more than the counts can say."""
    if disk.refcounts.most > 1 << 30:
        return
    bits = disk.header.cluster_bits
    tables = [place & entries.OFFSET for place in disk.l1 if place & entries.OFFSET]
    more = Counter(offset >> bits for offset in tables)
    for offset in tables:
        more.update(clusters_of(disk, offset))
    for cluster, times in more.items():
        if disk.refcounts.get(cluster) + times > disk.refcounts.most:
            width = 1 << disk.header.refcount_order
            raise StateError(f"disk {disk.store.name}", f"{width} bits do not count so many uses", "remove a snapshot, or convert it")


def clusters_of(disk: Qcow2, offset: int) -> Iterator[int]:
    """The clusters that the level 2 table at `offset` of the file speaks of. Raises BadInputError for one outside it."""
    if offset % disk.header.cluster or offset >= disk.store.size():
        raise BadInputError(f"disk {disk.store.name}", "a level 2 table lies outside the file", "check the image")
    table = entries.load(disk.store.read(offset, disk.header.cluster))
    for entry in table[:: 2 if disk.header.extended else 1]:
        if entry > 1:
            yield from disk.used_by(entry)


def _mark_copied(disk: Qcow2) -> None:
    """Have each entry of the present state say whether its cluster is used once."""
    disk.flush()
    counts, bits = disk.refcounts, disk.header.cluster_bits
    for index, place in enumerate(disk.l1):
        offset = place & entries.OFFSET
        if not offset:
            continue
        table = entries.load(disk.store.read(offset, disk.header.cluster))
        changed = False
        for at in range(0, len(table), 2 if disk.header.extended else 1):
            entry = table[at]
            if entry <= 1 or entry & entries.COMPRESSED or not entry & entries.OFFSET:
                continue
            once = counts.get((entry & entries.OFFSET) >> bits) == 1
            fit = entry | entries.COPIED if once else entry & ~entries.COPIED
            if fit != entry:
                table[at], changed = fit, True
        if changed:
            disk.store.write(offset, entries.dump(table))
        disk.l1[index] = offset | (entries.COPIED if counts.get(offset >> bits) == 1 else 0)
    disk.store.write(disk.header.l1_offset, entries.dump(disk.l1))
    disk.store.flush()
    disk.forget()


def _replace_table(disk: Qcow2, snapshots: list[Snapshot]) -> None:
    """A new snapshot table, and then none of the old one's clusters."""
    head = disk.header
    _, length = table_of(disk)
    old = range(head.snapshots_offset // head.cluster, -(-(head.snapshots_offset + length) // head.cluster)) if length else range(0)
    data = make(snapshots)
    first = disk.refcounts.allocate_all(-(-len(data) // head.cluster)) if data else 0
    if data:
        disk.store.write(first * head.cluster, data)
    disk.flush()
    head.snapshots, head.snapshots_offset = len(snapshots), first * head.cluster
    disk.store_header()
    disk.store.flush()
    for cluster in old:
        disk.refcounts.free(cluster)
