"""The tables that come last: inode tables, bitmaps, group descriptors and the copies of the superblock."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from uuid import UUID

from gasang.storage.crc32c import crc32c
from gasang.storage.ext4_inode import UNUSED, sealed
from gasang.storage.ext4_layout import BLOCK, FIRST_INODE, GROUP_BLOCKS, JOURNAL_INODE, Layout, Run, has_backup
from gasang.storage.ext4_nodes import Nodes
from gasang.storage.ext4_output import RunWriter
from gasang.storage.ext4_super import (
    BLOCK_UNINIT,
    INODE_UNINIT,
    INODE_ZEROED,
    SUPER_OFFSET,
    Counts,
    GroupState,
    checksum_seed,
    descriptor,
    superblock,
)
from gasang.storage.tree import Kind


def write_tables(
    out: RunWriter,
    layout: Layout,
    taken: Iterable[Run],
    nodes: Nodes,
    inodes: Mapping[int, bytes],
    uuid: UUID,
    label: bytes,
    time: int,
) -> None:
    """Write everything that describes the file system. `taken` are the runs in use beside the metadata's own."""
    seed = checksum_seed(uuid)
    last = max(nodes.last, FIRST_INODE - 1)
    _write_inodes(out, layout, inodes, last, seed)
    states = _write_bitmaps(out, layout, _by_group([*layout.reserved, *taken]), _directories(layout, nodes), last, seed)
    descriptors = b"".join(descriptor(i, layout.groups[i], state, seed) for i, state in enumerate(states))
    free = Counts(sum(state.free_blocks for state in states), sum(state.free_inodes for state in states))
    journal = _journal_backup(inodes[JOURNAL_INODE]) if JOURNAL_INODE in inodes else b""
    for group in filter(has_backup, range(len(states))):
        start = group * GROUP_BLOCKS * BLOCK
        out.write(start + (0 if group else SUPER_OFFSET), superblock(layout, group, uuid, label, time, free, journal))
        out.write(start + BLOCK, descriptors)


def _journal_backup(inode: bytes) -> bytes:
    """What the superblock keeps of the journal's inode: its 60 bytes of extents and its size, high half first."""
    (low,), (high,) = struct.unpack_from("<I", inode, 0x04), struct.unpack_from("<I", inode, 0x6C)
    return inode[0x28:0x64] + struct.pack("<II", high, low)


def _write_inodes(out: RunWriter, layout: Layout, inodes: Mapping[int, bytes], last: int, seed: int) -> None:
    for group in range(-(-last // layout.inodes_per_group)):
        first = group * layout.inodes_per_group + 1
        count = min(layout.inodes_per_group, last + 1 - first)
        table = b"".join(inodes.get(number, UNUSED) for number in range(first, first + count))
        out.write(layout.groups[group].inode_table * BLOCK, sealed(table, first, seed))


def _by_group(runs: Iterable[Run]) -> dict[int, list[Run]]:
    """The runs cut at the borders of groups; offsets within the group."""
    result: dict[int, list[Run]] = {}
    for start, length in runs:
        while length:
            group, offset = divmod(start, GROUP_BLOCKS)
            piece = min(length, GROUP_BLOCKS - offset)
            result.setdefault(group, []).append((offset, piece))
            start += piece
            length -= piece
    return result


def _directories(layout: Layout, nodes: Nodes) -> list[int]:
    counts = [0] * len(layout.groups)
    for node in nodes.all:
        if node.kind is Kind.DIRECTORY:
            counts[(node.number - 1) // layout.inodes_per_group] += 1
    return counts


def _write_bitmaps(
    out: RunWriter, layout: Layout, used: Mapping[int, list[Run]], directories: list[int], last: int, seed: int
) -> list[GroupState]:
    states = []
    for group, place in enumerate(layout.groups):
        runs = used.get(group, [])
        base = [(0, 1 + layout.descriptor_blocks)] if has_backup(group) else []
        own = layout.group_blocks(group)
        inodes = min(layout.inodes_per_group, max(0, last - group * layout.inodes_per_group))
        flags, block_sum, inode_sum = INODE_ZEROED, 0, 0
        # A group that holds nothing but what every reader expects needs no bitmap. The last one gets one: it may be shorter.
        if 0 < group < len(layout.groups) - 1 and runs == base:
            flags |= BLOCK_UNINIT
        else:
            bitmap = _bitmap([*runs, (own, GROUP_BLOCKS - own)])
            block_sum = crc32c(bitmap, seed)
            out.write(place.block_bitmap * BLOCK, bitmap)
        if group and not inodes:
            flags |= INODE_UNINIT
        else:
            bitmap = _bitmap([(0, inodes), (layout.inodes_per_group, 8 * BLOCK - layout.inodes_per_group)])
            inode_sum = crc32c(bitmap[: layout.inodes_per_group // 8], seed)
            out.write(place.inode_bitmap * BLOCK, bitmap)
        free = own - sum(length for _, length in runs)
        unused = layout.inodes_per_group - inodes
        states.append(GroupState(free, unused, directories[group], flags, unused, block_sum, inode_sum))
    return states


def _bitmap(runs: Iterable[Run]) -> bytes:
    bits = 0
    for start, length in runs:
        bits |= (1 << length) - 1 << start
    return bits.to_bytes(BLOCK, "little")
