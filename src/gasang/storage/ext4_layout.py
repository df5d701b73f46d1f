"""Where things lie in an ext4 file system: block groups, their fixed metadata, and the free runs between.

Sources: the Linux kernel's Documentation/filesystems/ext4 (block groups, sparse super, flex_bg). Choices made here: blocks of 4 KiB,
inodes of 256 bytes, group descriptors of 64 bytes; bitmaps and inode tables of sixteen neighbouring groups lie together at the
first of them, so that file data runs for gigabytes without a gap.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field

BLOCK = 4096
INODE_SIZE = 256
DESCRIPTOR_SIZE = 64
GROUP_BLOCKS = 8 * BLOCK
"""Blocks in a group: as many as one block of bitmap has bits."""
FLEX_LOG = 4
FIRST_INODE = 11
"""The first inode that is not reserved; by custom lost+found."""
JOURNAL_INODE = 8
ROOT_INODE = 2
MIN_SIZE = 1 << 20
MAX_BLOCKS = (1 << 32) - 1
"""16 TiB: block numbers of directories' and files' blocks stay within 32 bits for every tool."""

Run = tuple[int, int]
"""Consecutive blocks: the first, and how many."""

_SMALL_DISK = 512 << 20
_BYTES_PER_INODE_SMALL = 4096
_BYTES_PER_INODE = 16384

_JOURNAL_BLOCKS = ((2048, 0), (32768, 1024), (262144, 4096), (524288, 8192), (1048576, 16384), (8388608, 32768), (33554432, 65536))
"""Below so many blocks of file system, so many of journal; the same steps as other makers of ext4 take."""
_JOURNAL_BLOCKS_MOST = 262144


def has_backup(group: int) -> bool:
    """Whether the group holds a superblock and the descriptors (sparse_super): 0, 1 and the powers of 3, 5 and 7."""
    return group <= 1 or any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(value: int, base: int) -> bool:
    while value % base == 0:
        value //= base
    return value == 1


def journal_blocks(blocks: int) -> int:
    """How many blocks of journal a file system of so many blocks gets; 0 for none."""
    return next((journal for limit, journal in _JOURNAL_BLOCKS if blocks < limit), _JOURNAL_BLOCKS_MOST)


@dataclass(frozen=True, slots=True)
class Group:
    """Where one block group's metadata lies (block numbers)."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int


@dataclass(slots=True)
class Layout:
    """The geometry of a file system of `blocks` blocks with `inodes_per_group` inodes in each group."""

    blocks: int
    inodes_per_group: int
    groups: list[Group] = field(default_factory=list)
    reserved: list[Run] = field(default_factory=list)
    """Every run that metadata occupies, sorted, disjoint."""

    @classmethod
    def plan(cls, size: int, inodes: int = 0) -> Layout:
        """The layout of `size` bytes with at least `inodes` inodes (0: by custom); `size` is at least MIN_SIZE."""
        blocks = min(size // BLOCK, MAX_BLOCKS)
        count = -(-blocks // GROUP_BLOCKS)
        tail = blocks - (count - 1) * GROUP_BLOCKS
        if count > 1 and tail < 2 * _base_blocks(count) + 64:
            count, blocks = count - 1, blocks - tail
        wanted = inodes or size // (_BYTES_PER_INODE_SMALL if size < _SMALL_DISK else _BYTES_PER_INODE)
        per_block = BLOCK // INODE_SIZE
        tables = min(max(1, -(-wanted // (count * per_block))), 8 * BLOCK // per_block)
        layout = cls(blocks, tables * per_block)
        layout._place(count)
        return layout

    def _place(self, count: int) -> None:
        base = _base_blocks(count)
        self.reserved = [(g * GROUP_BLOCKS, base) for g in range(count) if has_backup(g)]
        for first in range(0, count, 1 << FLEX_LOG):
            members = min(1 << FLEX_LOG, count - first)
            start = first * GROUP_BLOCKS
            block_bitmaps = self._reserve(start, members)
            inode_bitmaps = self._reserve(start, members)
            tables = [self._reserve(start, self.table_blocks) for _ in range(members)]
            self.groups += [Group(block_bitmaps + i, inode_bitmaps + i, tables[i]) for i in range(members)]

    def _reserve(self, start: int, length: int) -> int:
        """Take the first gap of `length` blocks at or after `start`; its first block. It may lie past the end: see `fits`."""
        place = bisect.bisect_left(self.reserved, (start, 0))
        position = start
        while place < len(self.reserved) and self.reserved[place][0] < position + length:
            position = max(position, sum(self.reserved[place]))
            place += 1
        self.reserved.insert(place, (position, length))
        return position

    @property
    def fits(self) -> bool:
        """Whether the metadata itself lies within the disk."""
        return sum(self.reserved[-1]) <= self.blocks

    @property
    def table_blocks(self) -> int:
        """Blocks of one group's inode table."""
        return self.inodes_per_group * INODE_SIZE // BLOCK

    @property
    def descriptor_blocks(self) -> int:
        """Blocks of the group descriptor table."""
        return _base_blocks(len(self.groups)) - 1

    @property
    def inodes(self) -> int:
        """Inodes in all, the reserved ones included."""
        return self.inodes_per_group * len(self.groups)

    def group_blocks(self, group: int) -> int:
        """Blocks in a group: GROUP_BLOCKS, fewer in the last."""
        return min(GROUP_BLOCKS, self.blocks - group * GROUP_BLOCKS)

    def free_runs(self) -> Iterator[Run]:
        """The runs between the metadata, in order."""
        position = 0
        for start, length in self.reserved:
            if start > position:
                yield position, start - position
            position = start + length
        if self.blocks > position:
            yield position, self.blocks - position

    @property
    def free(self) -> int:
        """Blocks that metadata leaves free."""
        return self.blocks - sum(length for _, length in self.reserved)


def _base_blocks(groups: int) -> int:
    """Superblock and descriptors."""
    return 1 + -(-groups * DESCRIPTOR_SIZE // BLOCK)


def size_for(blocks: int, inodes: int) -> int:
    """The size in bytes, a multiple of 1 MiB, of a file system with room for so many blocks of content and so many new inodes."""
    size = MIN_SIZE
    while True:
        layout = Layout.plan(size)
        lack = blocks + journal_blocks(layout.blocks) - layout.free
        lack_inodes = inodes + FIRST_INODE - 1 - layout.inodes
        if lack <= 0 and lack_inodes <= 0 and layout.fits:
            return size
        size += max(1, lack * BLOCK >> 20, lack_inodes * _BYTES_PER_INODE_SMALL >> 20) << 20
