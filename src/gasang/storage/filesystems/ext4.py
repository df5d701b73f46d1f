"""ext2, ext3 and ext4, read (Linux: Documentation/filesystems/ext4). The writer is storage/ext4.py.

Extents and the older maps of blocks are followed, holes are zeroes. The journal is not replayed: what a machine had not written back
when it was cut off is not seen, as boot loaders have it. Checksums are not compared: the disk is hostile anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import ClassVar, Final, NamedTuple
from uuid import UUID

from gasang.core.errors import BadInputError
from gasang.storage.filesystems.tree import Node
from gasang.storage.filesystems.window import PIECE, Window
from gasang.storage.tree import Kind

MAGIC_AT: Final = 1024 + 0x38
MAGIC: Final = b"\x53\xef"
_ROOT: Final = 2
_UNREADABLE: Final = {0x1: "compression", 0x8: "a journal of its own", 0x1000: "data in folders"}
_64BIT, _META_GROUPS = 0x80, 0x10
_EXTENTS, _INLINE, _ENCRYPTED = 0x80000, 0x10000000, 0x800
_HEADER: Final = struct.Struct("<HHHHI")
_LEAF: Final = struct.Struct("<IHHI")
_INDEX: Final = struct.Struct("<IIHH")
_EXTENT_MAGIC: Final = 0xF30A
_DEPTH_MOST: Final = 5
_WRITTEN_MOST: Final = 32768
"""Blocks of an extent; a larger number says that they are not written yet."""
_MAPPED: Final = 12
_FOLDER_MOST: Final = 64 << 20
_REGULAR, _LINK = 0x8, 0xA
_KINDS: Final = {
    0x1: Kind.FIFO, 0x2: Kind.CHARACTER, 0x4: Kind.DIRECTORY, 0x6: Kind.BLOCK, 0x8: Kind.FILE, 0xA: Kind.SYMLINK, 0xC: Kind.SOCKET,
}  # fmt: skip


class Facts(NamedTuple):
    """Of an inode: mode (type and rights, as stat(2) has them), bytes, last change in seconds since 1970 modulo 2^32, owner and group."""

    mode: int
    size: int
    time: int
    user: int
    group: int


class Ext4:
    """The file system in a window. Raises BadInputError for one that is damaged or has what is not read here."""

    form: ClassVar[str] = "ext4"

    def __init__(self, window: Window) -> None:
        self._window = window
        raw = window.read(1024, 1024)
        self._inodes, self._first, log, self._blocks_per_group, self._per_group, revision, incompatible = (
            struct.unpack_from("<I", raw, at)[0] for at in (0x00, 0x14, 0x18, 0x20, 0x28, 0x4C, 0x60)
        )
        if raw[0x38:0x3A] != MAGIC or log > 6 or not self._per_group or not self._blocks_per_group:
            raise window.damaged("its ext4 file system makes no sense")
        for bit, what in _UNREADABLE.items():
            if incompatible & bit:
                raise window.damaged(f"its ext4 file system has {what}, which is not read here")
        self._block = 1024 << log
        self._inode_size = struct.unpack_from("<H", raw, 0x58)[0] if revision else 128
        wide = bool(incompatible & _64BIT)
        self._descriptor = struct.unpack_from("<H", raw, 0xFE)[0] if wide else 32
        self._wide = wide and self._descriptor >= 64
        self._meta_from = struct.unpack_from("<I", raw, 0x104)[0] if incompatible & _META_GROUPS else -1
        if self._inode_size < 128 or self._inode_size > self._block or not 32 <= self._descriptor <= self._block:
            raise window.damaged("its ext4 file system has structures of sizes that cannot be")
        self.uuid = str(UUID(bytes=raw[0x68:0x78]))
        self.label = raw[0x78:0x88].split(b"\0")[0].decode("utf-8", "replace")

    @property
    def root(self) -> Node:
        """The root folder."""
        return self.node(_ROOT)

    def key(self, name: bytes) -> bytes:
        """Case counts."""
        return name

    def entries(self, folder: Node) -> dict[bytes, int]:
        """What is in a folder: names and inodes."""
        if folder.size > _FOLDER_MOST:
            raise self._window.damaged("its ext4 file system has a folder larger than can be")
        data = self.read(folder)
        blocks = (data[block : block + self._block] for block in range(0, len(data), self._block))
        return {name: number for block in blocks for number, name in self._of_block(block) if name not in (b".", b"..")}

    def _of_block(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Of one block of a folder; those of the trees that find names faster look like unused ones."""
        at = 0
        while at + 8 <= len(block):
            number, length, name_length = struct.unpack_from("<IHB", block, at)
            if length < 8 or at + length > len(block) or name_length > length - 8:
                if length == 0xFFFF or (not length and at == 0):  # a whole block of 64 KiB
                    return
                raise self._window.damaged("a folder of its ext4 file system is damaged")
            if number and name_length:
                yield number, block[at + 8 : at + 8 + name_length]
            at += length

    def read(self, node: Node) -> bytes:
        """All of a file, a folder, or a symbolic link's target."""
        inode = self._inode(node.number)
        flags = struct.unpack_from("<I", inode, 0x20)[0]
        if flags & _ENCRYPTED:
            raise self._window.damaged("a file of its ext4 file system is encrypted")
        if node.kind is Kind.SYMLINK and node.size < 60 and not flags & _EXTENTS:
            return inode[0x28 : 0x28 + node.size]
        if flags & _INLINE:
            if node.size <= 60 and node.kind is not Kind.DIRECTORY:
                return inode[0x28 : 0x28 + node.size]
            raise self._window.damaged("a file of its ext4 file system lies in its inode, which is not read here")
        if node.size > self._window.size:
            # A sparse file may be larger than its disk, but none that is wanted here is.
            raise self._window.damaged("a file of its ext4 file system is larger than the file system")
        runs = self._extents(inode[0x28:0x64]) if flags & _EXTENTS else self._mapped(inode[0x28:0x64], node.size)
        parts: list[bytes] = []
        have = 0
        for logical, block, count in runs:
            start = logical * self._block
            if start < have:
                raise self._window.damaged("the extents of a file of its ext4 file system overlap")
            if start >= node.size:
                break
            parts.append(bytes(start - have))
            length = min(count * self._block, node.size - start)
            parts += (
                [self._window.read(block * self._block + done, min(PIECE, length - done)) for done in range(0, length, PIECE)]
                if block
                else [bytes(length)]
            )
            have = start + length
        parts.append(bytes(node.size - have))
        return b"".join(parts)

    def node(self, number: int) -> Node:
        """What an inode is."""
        inode = self._inode(number)
        kind = _KINDS.get(struct.unpack_from("<H", inode)[0] >> 12)
        if kind is None:
            raise self._window.damaged("an inode of its ext4 file system is of no kind")
        size = struct.unpack_from("<I", inode, 4)[0]
        if kind is Kind.FILE or kind is Kind.DIRECTORY:
            size |= struct.unpack_from("<I", inode, 0x6C)[0] << 32
        return Node(kind, size, number)

    def facts(self, number: int) -> Facts:
        """What tells an inode from what it was: its size is that of a file or a symbolic link, 0 of others."""
        inode = self._inode(number)
        mode, user, size, _, _, time, _, group = struct.unpack_from("<HHIIIIIH", inode)
        user_high, group_high = struct.unpack_from("<HH", inode, 0x78)
        if mode >> 12 == _REGULAR:
            size |= struct.unpack_from("<I", inode, 0x6C)[0] << 32
        elif mode >> 12 != _LINK:
            size = 0
        return Facts(mode, size, time, user | user_high << 16, group | group_high << 16)

    def endless(self) -> BadInputError:
        """It has more files than can be."""
        return self._window.damaged("its ext4 file system has files without end")

    def _inode(self, number: int) -> bytes:
        if not 0 < number <= self._inodes:
            raise self._window.damaged("its ext4 file system names an inode that it has not")
        group, index = divmod(number - 1, self._per_group)
        return self._window.read(self._table(group) * self._block + index * self._inode_size, self._inode_size)

    def _table(self, group: int) -> int:
        """The block where a group's inodes begin."""
        per_block = self._block // self._descriptor
        table, index = divmod(group, per_block)
        if self._meta_from < 0 or table < self._meta_from:
            block = self._first + 1 + table
        else:
            start = self._first + table * per_block * self._blocks_per_group
            block = start + (1 if _has_super(table * per_block) else 0)
        raw = self._window.read(block * self._block + index * self._descriptor, self._descriptor)
        low = struct.unpack_from("<I", raw, 8)[0]
        return int(low | (struct.unpack_from("<I", raw, 0x28)[0] << 32 if self._wide else 0))

    def _extents(self, root: bytes) -> Iterator[tuple[int, int, int]]:
        """(first block of the file, block of the disk or 0, how many), in order."""
        yield from self._extents_below(root, _DEPTH_MOST + 1)

    def _extents_below(self, raw: bytes, above: int) -> Iterator[tuple[int, int, int]]:
        magic, count, _, depth, _ = _HEADER.unpack_from(raw)
        if magic != _EXTENT_MAGIC or depth >= above or 12 + 12 * count > len(raw):
            raise self._window.damaged("the extents of a file of its ext4 file system make no sense")
        for at in range(12, 12 + 12 * count, 12):
            if depth:
                _, low, high, _ = _INDEX.unpack_from(raw, at)
                below = self._window.read((low | high << 32) * self._block, self._block)
                yield from self._extents_below(below, depth)
            else:
                logical, length, high, low = _LEAF.unpack_from(raw, at)
                unwritten = length > _WRITTEN_MOST
                yield logical, 0 if unwritten else low | high << 32, length - _WRITTEN_MOST if unwritten else length

    def _mapped(self, raw: bytes, size: int) -> Iterator[tuple[int, int, int]]:
        """The same of a file with ext2's map: twelve blocks, then blocks of numbers, and such of those, three deep."""
        numbers = struct.unpack("<15I", raw)
        wanted = -(-size // self._block)
        for index, block in enumerate(numbers[:_MAPPED]):
            if index < wanted and block:
                yield index, block, 1
        done = _MAPPED
        for depth, block in enumerate(numbers[_MAPPED:], 1):
            span = (self._block // 4) ** depth
            if block and done < wanted:
                yield from self._map_below(block, depth, done, wanted)
            done += span

    def _map_below(self, block: int, depth: int, done: int, wanted: int) -> Iterator[tuple[int, int, int]]:
        span = (self._block // 4) ** (depth - 1)
        for index, below in enumerate(struct.unpack(f"<{self._block // 4}I", self._window.read(block * self._block, self._block))):
            first = done + index * span
            if first >= wanted:
                return
            if below and depth == 1:
                yield first, below, 1
            elif below:
                yield from self._map_below(below, depth - 1, first, wanted)


def _has_super(group: int) -> bool:
    if group <= 1:
        return True
    for base in (3, 5, 7):
        value = group
        while value % base == 0:
            value //= base
        if value == 1:
            return True
    return False
