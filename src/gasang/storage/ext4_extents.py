"""Extent trees: which blocks of the disk hold a file's blocks.

Documentation/filesystems/ext4/ifork: a node is a 12-byte header and 12-byte records; the root lies in the inode (four records), the
others each fill a block, with a checksum after the last record there is room for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gasang.storage.crc32c import crc32c
from gasang.storage.ext4_inode import seed_of
from gasang.storage.ext4_layout import BLOCK, Run

MAX_EXTENT = 32768
"""Blocks of one extent; greater lengths mean "not written yet"."""
ROOT_RECORDS = 4
NODE_RECORDS = (BLOCK - 12 - 4) // 12

_MAGIC = 0xF30A
_HEADER = struct.Struct("<HHHHI")
_LEAF = struct.Struct("<IHHI")
_INDEX = struct.Struct("<IIHH")

Record = tuple[int, bytes]
"""The first block of the file that a record covers, and the record's twelve bytes."""


@dataclass(frozen=True, slots=True)
class ExtentTree:
    """`root` is the inode's 60 bytes; `nodes` the blocks (number, content) to be written."""

    root: bytes
    nodes: list[tuple[int, bytes]]


def extents(runs: Sequence[Run], longest: int = MAX_EXTENT) -> list[tuple[int, int, int]]:
    """(file block, disk block, length) of each extent of a file whose blocks lie in `runs`, in order and without holes."""
    result = []
    logical = 0
    for start, length in runs:
        for offset in range(0, length, longest):
            piece = min(longest, length - offset)
            result.append((logical, start + offset, piece))
            logical += piece
    return result


def node_count(records: int) -> int:
    """How many blocks, beside the inode, a tree of so many extents needs."""
    total = 0
    while records > ROOT_RECORDS:
        records = -(-records // NODE_RECORDS)
        total += records
    return total


def build(runs: Sequence[Run], number: int, seed: int, allocate: Callable[[int], list[int]], longest: int = MAX_EXTENT) -> ExtentTree:
    """The tree over `runs`; `allocate(n)` gives n block numbers for its nodes. `number` is the inode's, `seed` the file system's."""
    records = [(logical, _LEAF.pack(logical, n, start >> 32, start & 0xFFFFFFFF)) for logical, start, n in extents(runs, longest)]
    depth = 0
    inode_seed = seed_of(number, seed) if len(records) > ROOT_RECORDS else 0
    nodes: list[tuple[int, bytes]] = []
    while len(records) > ROOT_RECORDS:
        parts = [records[i : i + NODE_RECORDS] for i in range(0, len(records), NODE_RECORDS)]
        blocks = allocate(len(parts))
        nodes += [(block, _node(part, depth, inode_seed)) for block, part in zip(blocks, parts, strict=True)]
        records = [
            (part[0][0], _INDEX.pack(part[0][0], block & 0xFFFFFFFF, block >> 32, 0)) for block, part in zip(blocks, parts, strict=True)
        ]
        depth += 1
    return ExtentTree(_packed(records, depth, ROOT_RECORDS), nodes)


def _packed(records: Sequence[Record], depth: int, room: int) -> bytes:
    header = _HEADER.pack(_MAGIC, len(records), room, depth, 0)
    return (header + b"".join(raw for _, raw in records)).ljust(12 + 12 * room, b"\0")


def _node(records: Sequence[Record], depth: int, seed: int) -> bytes:
    body = _packed(records, depth, NODE_RECORDS)
    return (body + crc32c(body, seed).to_bytes(4, "little")).ljust(BLOCK, b"\0")
