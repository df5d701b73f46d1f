"""Inodes as bytes, and their checksums many at a time (Documentation/filesystems/ext4/inodes)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gasang.storage.crc32c import Planes, crc32c, crc32c_rows, uniform
from gasang.storage.ext4_layout import BLOCK, INODE_SIZE
from gasang.storage.tree import Kind

EXTENTS_FLAG = 0x80000
FAST_SYMLINK = 60
"""A target shorter than this lies in the inode itself."""

_FORMATS = {
    Kind.FILE: (0x8000, 1),
    Kind.DIRECTORY: (0x4000, 2),
    Kind.CHARACTER: (0x2000, 3),
    Kind.BLOCK: (0x6000, 4),
    Kind.FIFO: (0x1000, 5),
    Kind.SOCKET: (0xC000, 6),
    Kind.SYMLINK: (0xA000, 7),
}
"""Kind: the format bits of the mode, and the type code in directories."""

TYPE_CODES = {kind: code for kind, (_, code) in _FORMATS.items()}

_INODE = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHHHHHIIIIIII96s")
_CHECKSUM_AT = (0x7C, 0x7D, 0x82, 0x83)
_EXTRA_SIZE = 32
assert _INODE.size == INODE_SIZE

UNUSED = bytes(128) + struct.pack("<H", _EXTRA_SIZE).ljust(INODE_SIZE - 128, b"\0")
"""A reserved inode nobody uses: it has no content, but the extra fields that hold half of the checksum."""


@dataclass(slots=True, kw_only=True)
class Inode:
    """The fields that vary. `blocks` counts all blocks it holds, `content` is the 60 bytes of extents, target or device number."""

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    time: int = 0
    links: int = 1
    blocks: int = 0
    flags: int = 0
    content: bytes = b""
    attribute_block: int = 0
    attributes: bytes = b""

    def pack(self) -> bytes:
        """The 256 bytes, checksum zero."""
        seconds = self.time & 0xFFFFFFFF
        epoch = self.time + (1 << 31) >> 32 & 3  # bits 32 and 33 of the time, counted from 1901
        sectors = self.blocks * (BLOCK // 512)
        return _INODE.pack(
            _FORMATS[self.kind][0] | self.mode,
            self.uid & 0xFFFF,
            self.size & 0xFFFFFFFF,
            seconds,
            seconds,
            seconds,
            0,
            self.gid & 0xFFFF,
            self.links,
            sectors & 0xFFFFFFFF,
            self.flags,
            0,
            self.content,
            0,
            self.attribute_block & 0xFFFFFFFF,
            self.size >> 32,
            0,
            sectors >> 32,
            self.attribute_block >> 32,
            self.uid >> 16,
            self.gid >> 16,
            0,
            0,
            _EXTRA_SIZE,
            0,
            epoch,
            epoch,
            epoch,
            seconds,
            epoch,
            0,
            0,
            self.attributes,
        )


def device_content(major: int, minor: int) -> bytes:
    """The content of a device node: the short form where both numbers have eight bits, else the long one."""
    if major < 256 and minor < 256:
        return struct.pack("<II", major << 8 | minor, 0)
    return struct.pack("<II", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


def seed_of(number: int, seed: int) -> int:
    """What checksums of inode `number`, its directory blocks and extent nodes start from (its generation is 0)."""
    return crc32c(struct.pack("<II", number, 0), seed)


def seeds_of(numbers: Sequence[int], seed: int) -> Planes:
    """`seed_of` for many inodes at once."""
    rows = struct.pack(f"<{len(numbers)}Q", *numbers)
    return crc32c_rows(rows, 8, 8, uniform(seed, len(numbers)))


def sealed(table: bytes, first: int, seed: int) -> bytes:
    """Packed inodes `first`, `first` + 1 … with their checksums set."""
    count = len(table) // INODE_SIZE
    sums = crc32c_rows(table, INODE_SIZE, INODE_SIZE, seeds_of(range(first, first + count), seed))
    result = bytearray(table)
    for offset, plane in zip(_CHECKSUM_AT, sums, strict=True):
        result[offset::INODE_SIZE] = plane
    return bytes(result)
