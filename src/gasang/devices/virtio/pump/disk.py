"""Reads and writes of a disk that is a file, or layers of files (virtio 1.2, section 5.2.6; storage/overlay.py).

Whatever else there is to do, and whatever fails, is left to devices/virtio/block.py, which does all of the request.
"""

from __future__ import annotations

from gasang.devices.virtio.pump.calls import Call
from gasang.devices.virtio.pump.ring import note
from gasang.devices.virtio.pump.state import Pump, Queue
from gasang.native import atomic_load, boolean, cast, copy, i64, minimum, native, null, ptr, ref, syscall, u8, u32, u64

SECTOR = 512
CLUSTER = 4096
HEADER = 16
LONGEST = 1 << 20
"""Bytes of a transfer; longer ones are a worker's."""
READ, WRITE = 0, 1
OK = 0
ODD = 0xFFFF_FFFF
"""The request is not served."""


@native
def total(p: ptr[Pump], first: u32, last: u32) -> u64:
    """Bytes of some of the chain's segments."""
    found: u64 = 0
    for i in range(first, last):
        found += p.vectors[i].size
    return found


@native
def slice_of(p: ptr[Pump], first: u32, last: u32, skip: u64, size: u64) -> u32:
    """Put `size` bytes of the segments, behind the first `skip`, into `slice`: how many segments that are."""
    made: u32 = 0
    left = size
    for i in range(first, last):
        have = p.vectors[i].size
        if skip >= have:
            skip -= have
        elif left != 0:
            here = minimum(have - skip, left)
            p.slice[made].base = p.vectors[i].base + skip
            p.slice[made].size = here
            made += 1
            left -= here
            skip = 0
    return made


@native
def move(p: ptr[Pump], file: i64, is_write: boolean, first: u32, last: u32, skip: u64, size: u64, offset: u64) -> boolean:
    """Between segments and a file, all of it; False where the host does not."""
    done: u64 = 0
    while done < size:
        count = slice_of(p, first, last, skip + done, size - done)
        vectors = u64(ref(p.slice))
        moved: i64 = 0
        if is_write:
            moved = syscall(Call.pwritev, u64(file), vectors, u64(count), offset + done, 0)
        else:
            moved = syscall(Call.preadv, u64(file), vectors, u64(count), offset + done, 0)
        if moved <= 0:
            return False
        done += u64(moved)
    return True


@native
def read(p: ptr[Pump], q: ptr[Queue], first: u32, last: u32, size: u64, offset: u64) -> boolean:
    """From each layer what it has."""
    if q.clusters == null:
        return move(p, q.files[q.top], False, first, last, 0, size, offset)
    done: u64 = 0
    while done < size:
        cluster = (offset + done) // CLUSTER
        layer = q.clusters[cluster]
        end = cluster + 1
        while end * CLUSTER < offset + size and q.clusters[end] == layer:
            end += 1
        here = minimum(end * CLUSTER, offset + size) - (offset + done)
        if not move(p, q.files[layer], False, first, last, done, here, offset + done):
            return False
        done += here
    return True


@native
def may_write(q: ptr[Queue], size: u64, offset: u64) -> boolean:
    """Whether nothing must be copied from below, nor anything noted that cannot be noted here."""
    first = offset // CLUSTER
    last = (offset + size - 1) // CLUSTER
    for i in range(first, last + 1):
        if u32(q.clusters[i]) != q.top:
            end = minimum((i + 1) * CLUSTER, q.sectors * SECTOR)
            if q.may_own == 0 or offset > i * CLUSTER or offset + size < end:
                return False
    return True


@native
def write(p: ptr[Pump], q: ptr[Queue], first: u32, last: u32, size: u64, offset: u64) -> boolean:
    """To the top layer."""
    if q.clusters != null and not may_write(q, size, offset):
        return False
    if not move(p, q.files[q.top], True, first, last, 0, size, offset):
        return False
    if q.clusters != null:
        for i in range(offset // CLUSTER, (offset + size - 1) // CLUSTER + 1):
            if u32(q.clusters[i]) != q.top:
                q.clusters[i] = u8(q.top)
                q.owned = 1
    return True


@native
def disk(p: ptr[Pump], q: ptr[Queue]) -> u32:
    """Serve the chain: the bytes written to it, or ODD. Header and status are segments of their own, as drivers have them."""
    if p.readable == 0 or p.count == p.readable or p.vectors[0].size != HEADER or p.vectors[p.count - 1].size != 1:
        return ODD
    copy(cast(ptr[u8], ref(p.header)), cast(ptr[u8], p.vectors[0].base), HEADER)
    kind = u32(atomic_load(ref(p.header[0])) & 0xFFFF_FFFF)
    sector = atomic_load(ref(p.header[1]))
    if kind == READ:
        first = p.readable
        last = p.count - 1
    elif kind == WRITE and q.writable != 0 and p.count == p.readable + 1:
        first = u32(1)
        last = p.readable
    else:
        return ODD
    if kind == READ and p.readable != 1:
        return ODD
    size = total(p, first, last)
    if size == 0 or size % SECTOR != 0 or size > LONGEST or size // SECTOR > q.sectors or sector > q.sectors - size // SECTOR:
        return ODD
    written: u32 = 1
    if kind == READ:
        if not read(p, q, first, last, size, sector * SECTOR):
            return ODD
        for i in range(first, last):
            note(p, p.vectors[i].base, p.vectors[i].size)
        written = u32(size) + 1
    elif not write(p, q, first, last, size, sector * SECTOR):
        return ODD
    status = p.vectors[p.count - 1].base
    cast(ptr[u8], status)[0] = OK
    note(p, status, 1)
    return written
