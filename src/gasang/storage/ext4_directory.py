"""Directory blocks: linear lists of (inode, kind, name).

Documentation/filesystems/ext4/directory: records are padded to four bytes, never cross a block, and the last one of a block reaches to
the twelve-byte checksum at its end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gasang.storage.ext4_layout import BLOCK

TAIL = 12
ROOM = BLOCK - TAIL
CHECKSUM_AT = BLOCK - 4
"""Where a block's checksum goes; it covers the first ROOM bytes."""

Name = tuple[bytes, int, int]
"""A name, the inode it stands for, and that inode's file type code."""

_HEAD = struct.Struct("<IHBB")
_TAIL = struct.Struct("<IHBBI").pack(0, TAIL, 0, 0xDE, 0)


def record_size(name: bytes) -> int:
    """Bytes a name takes."""
    return 8 + (len(name) + 3 & ~3)


def pack(names: Iterable[Name], least: int = 1) -> bytes:
    """The blocks of a directory that lists `names` in this order, at least `least` of them; checksums are left zero."""
    blocks: list[bytes] = []
    records: list[Name] = []
    used = 0
    for name in names:
        size = record_size(name[0])
        if used + size > ROOM:
            blocks.append(_block(records, used))
            records, used = [], 0
        records.append(name)
        used += size
    blocks.append(_block(records, used))
    blocks += [_EMPTY] * (least - len(blocks))
    return b"".join(blocks)


def _block(records: list[Name], used: int) -> bytes:
    if not records:
        return _EMPTY
    pieces = []
    for name, inode, code in records[:-1]:
        size = record_size(name)
        pieces.append((_HEAD.pack(inode, size, len(name), code) + name).ljust(size, b"\0"))
    name, inode, code = records[-1]
    size = ROOM - used + record_size(name)
    pieces.append((_HEAD.pack(inode, size, len(name), code) + name).ljust(size, b"\0"))
    return b"".join(pieces) + _TAIL


_EMPTY = _HEAD.pack(0, ROOM, 0, 0).ljust(ROOM, b"\0") + _TAIL
