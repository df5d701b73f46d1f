"""The superblock, the group descriptors and the journal's superblock, as bytes.

Documentation/filesystems/ext4: "Super Block", "Block Group Descriptors", "Journal (jbd2)". Fields are listed by offset; what is not
listed is zero.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID, uuid5

from gasang.storage.crc32c import crc32c
from gasang.storage.ext4_layout import BLOCK, DESCRIPTOR_SIZE, FIRST_INODE, FLEX_LOG, GROUP_BLOCKS, INODE_SIZE, JOURNAL_INODE, Group, Layout

SUPER_OFFSET = 1024
SUPER_SIZE = 1024

INODE_UNINIT = 1
BLOCK_UNINIT = 2
INODE_ZEROED = 4
"""Flags of a group: its inode bitmap, its block bitmap are not on the disk; its unused inodes are all zero."""

_HAS_JOURNAL = 0x4
_COMPATIBLE = 0x8 | 0x20
"""Extended attributes; directories may be indexed."""
_INCOMPATIBLE = 0x2 | 0x40 | 0x80 | 0x200
"""File types in directories, extents, 64-bit block numbers, flexible groups."""
_READ_ONLY_COMPATIBLE = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400
"""Sparse superblocks, large files, huge files, directories of many links, larger inodes, checksums."""

_MAGIC = 0xEF53
_CLEAN = 1
_CONTINUE_ON_ERROR = 1
_ATTRIBUTES_AND_ACLS = 0x000C
_HALF_MD4 = 1
_UNSIGNED_HASH = 2
_CRC32C = 1
_JOURNAL_BACKUP = 1
_JOURNAL_MAGIC = 0xC03B3998
_JOURNAL_SUPER_V2 = 4


@dataclass(frozen=True, slots=True)
class Counts:
    """What is left free, over the whole file system."""

    blocks: int
    inodes: int


@dataclass(frozen=True, slots=True)
class GroupState:
    """The changing half of a group's descriptor; the checksums are those of the bitmaps on the disk (0 where there are none)."""

    free_blocks: int
    free_inodes: int
    directories: int
    flags: int
    unused_inodes: int
    block_checksum: int
    inode_checksum: int


def checksum_seed(uuid: UUID) -> int:
    """What every metadata checksum of the file system starts from."""
    return crc32c(uuid.bytes)


def superblock(layout: Layout, group: int, uuid: UUID, label: bytes, time: int, free: Counts, journal: bytes) -> bytes:
    """The 1024 bytes of the copy in `group`; `journal` is the journal inode's 60 bytes of extents and its size as 8 (none: empty)."""
    fields: tuple[tuple[int, str, int | bytes], ...] = (
        (0x00, "I", layout.inodes),
        (0x04, "I", layout.blocks),
        (0x0C, "I", free.blocks),
        (0x10, "I", free.inodes),
        (0x18, "I", 2),  # block size, log2 of KiB
        (0x1C, "I", 2),
        (0x20, "I", GROUP_BLOCKS),
        (0x24, "I", GROUP_BLOCKS),
        (0x28, "I", layout.inodes_per_group),
        (0x30, "I", time & 0xFFFFFFFF),
        (0x36, "H", 0xFFFF),  # no check after some number of mounts
        (0x38, "H", _MAGIC),
        (0x3A, "H", _CLEAN),
        (0x3C, "H", _CONTINUE_ON_ERROR),
        (0x40, "I", time & 0xFFFFFFFF),
        (0x4C, "I", 1),  # revision: variable inode size
        (0x54, "I", FIRST_INODE),
        (0x58, "H", INODE_SIZE),
        (0x5A, "H", group & 0xFFFF),
        (0x5C, "I", _COMPATIBLE | (_HAS_JOURNAL if journal else 0)),
        (0x60, "I", _INCOMPATIBLE),
        (0x64, "I", _READ_ONLY_COMPATIBLE),
        (0x68, "16s", uuid.bytes),
        (0x78, "16s", label),
        (0xE0, "I", JOURNAL_INODE if journal else 0),
        (0xEC, "16s", uuid5(uuid, "directory hash").bytes),
        (0xFC, "B", _HALF_MD4),
        (0xFD, "B", _JOURNAL_BACKUP if journal else 0),
        (0xFE, "H", DESCRIPTOR_SIZE),
        (0x100, "I", _ATTRIBUTES_AND_ACLS),
        (0x108, "I", time & 0xFFFFFFFF),
        (0x10C, "68s", journal),
        (0x15C, "H", 32),
        (0x15E, "H", 32),
        (0x160, "I", _UNSIGNED_HASH),
        (0x174, "B", FLEX_LOG),
        (0x175, "B", _CRC32C),
        (0x274, "B", time >> 32 & 0xFF),  # high bytes of the times written, made and checked
        (0x276, "B", time >> 32 & 0xFF),
        (0x277, "B", time >> 32 & 0xFF),
    )
    raw = bytearray(SUPER_SIZE)
    for offset, code, value in fields:
        struct.pack_into("<" + code, raw, offset, value)
    struct.pack_into("<I", raw, 0x3FC, crc32c(raw[:0x3FC]))
    return bytes(raw)


def descriptor(number: int, group: Group, state: GroupState, seed: int) -> bytes:
    """The 64 bytes that describe block group `number`."""
    places = (group.block_bitmap, group.inode_bitmap, group.inode_table)
    amounts = (state.free_blocks, state.free_inodes, state.directories)
    sums = (state.block_checksum, state.inode_checksum)
    low = struct.pack(
        "<3I4HI3HH",
        *(place & 0xFFFFFFFF for place in places),
        *(amount & 0xFFFF for amount in amounts),
        state.flags,
        0,
        *(value & 0xFFFF for value in sums),
        state.unused_inodes & 0xFFFF,
        0,
    )
    high = struct.pack(
        "<3I4HI2HI",
        *(place >> 32 for place in places),
        *(amount >> 16 for amount in amounts),
        state.unused_inodes >> 16,
        0,
        *(value >> 16 for value in sums),
        0,
    )
    raw = bytearray(low + high)
    struct.pack_into("<H", raw, 0x1E, crc32c(raw, crc32c(struct.pack("<I", number), seed)) & 0xFFFF)
    return bytes(raw)


def journal_superblock(blocks: int, uuid: UUID) -> bytes:
    """The first block of an empty journal of `blocks` blocks: nothing to replay, numbering starts at 1."""
    head = struct.pack(">3I6I3I", _JOURNAL_MAGIC, _JOURNAL_SUPER_V2, 0, BLOCK, blocks, 1, 1, 0, 0, 0, 0, 0)
    return (head + uuid.bytes + struct.pack(">I", 1)).ljust(BLOCK, b"\0")
