"""Writing an ext4 file system into a sparse file, without mkfs, mount or privileges.

The order of a write: superblock's geometry first, then the content of files as it streams in, each behind the one before; when the
tree is known its directories, attributes and extent trees; the tables that describe it all come last. The same entries, UUID and
times give the same bytes. Journal, checksums of all metadata, extents and flexible groups are on; a kernel mounts it like any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from gasang.core.errors import BadInputError, OutOfSpaceError, UsageError
from gasang.storage import ext4_directory, ext4_extents, ext4_xattr
from gasang.storage.crc32c import crc32c_rows
from gasang.storage.ext4_inode import EXTENTS_FLAG, FAST_SYMLINK, Inode, device_content, seeds_of
from gasang.storage.ext4_layout import BLOCK, JOURNAL_INODE, MAX_BLOCKS, MIN_SIZE, Layout, Run, journal_blocks, size_for
from gasang.storage.ext4_nodes import Node, Nodes
from gasang.storage.ext4_output import Allocator, RunWriter
from gasang.storage.ext4_super import checksum_seed, journal_superblock
from gasang.storage.ext4_tables import write_tables
from gasang.storage.made import new_file
from gasang.storage.tree import Entry, Kind, shown

Progress = Callable[[int], None]
"""Told how many bytes of file content are written so far."""

_CHUNK = 1 << 20
_LOST_FOUND_BLOCKS = 4
"""Ready for fsck to put names there without allocating."""
_DIRECTORY_BATCH = 2048


def write_ext4(
    path: Path,
    entries: Iterable[Entry],
    size: int,
    *,
    label: str = "",
    uuid: UUID,
    time: int = 0,
    inodes: int = 0,
    progress: Progress | None = None,
) -> None:
    """Make `path` a raw disk of `size` bytes whose ext4 file system holds `entries`.

    `time` (seconds) stamps the file system and directories no entry names; `inodes` is the least number of inodes (0: one for every
    16 KiB, on disks under 512 MiB one for every 4 KiB). `path` appears only when it is complete. Raises OutOfSpaceError, which names
    the size needed or the host's full disk, BadInputError for an entry that cannot be, UsageError for a label or size that cannot be.
    """
    raw_label = label.encode()
    if len(raw_label) > 16:
        raise UsageError(f"label {label}", "it is longer than 16 bytes", "shorten it")
    if size > MAX_BLOCKS * BLOCK:
        raise UsageError(f"disk {path}", f"{size} bytes are more than ext4 is written with here", "choose at most 16 TiB")
    with new_file(path) as file:
        file.truncate(size)
        writer = _Writer(Layout.plan(max(size, MIN_SIZE), inodes), file, uuid, time, progress)
        writer.allocator.short |= size < MIN_SIZE
        needed = writer.run(entries)
        if needed:
            raise OutOfSpaceError(f"disk {path}", f"{size} bytes do not hold its files", f"give it at least {needed >> 20} MiB")
        writer.describe(raw_label)


def size_needed(entries: Iterable[Entry]) -> int:
    """The least size in bytes (a multiple of 1 MiB) that `write_ext4` takes for these entries. Reads no content of files."""
    writer = _Writer(Layout.plan(MIN_SIZE), None, UUID(int=0), 0, None)
    writer.allocator.short = True
    return writer.run(entries)


class _Writer:
    def __init__(self, layout: Layout, file: BinaryIO | None, uuid: UUID, time: int, progress: Progress | None) -> None:
        self._layout = layout
        self._out = RunWriter(file) if file else None
        self._uuid = uuid
        self._seed = checksum_seed(uuid)
        self._time = time
        self._progress = progress
        self._done = 0
        self._nodes = Nodes(time)
        self._inodes: dict[int, bytes] = {}
        self.allocator = Allocator(layout)

    @property
    def _dry(self) -> bool:
        """Whether only counting is left to do: the disk is too small, or there is none."""
        return self._out is None or self.allocator.short or self._nodes.last > self._layout.inodes

    def run(self, entries: Iterable[Entry]) -> int:
        """Take everything in; 0 if it fitted, else the size it needs."""
        journal = journal_blocks(self._layout.blocks)
        journal_runs = self.allocator.take(journal)
        for entry in entries:
            node = self._nodes.add(entry)
            if node and node.kind is Kind.FILE:
                node.runs = self.allocator.take(-(-node.size // BLOCK))
                self._copy(entry, node.runs)
        self._nodes.link()
        self._directories()
        for node in self._nodes.all:
            self._inode(node)
        if journal:
            self._journal(journal, journal_runs)
        return self._needed(journal) if self._dry else 0

    def _needed(self, journal: int) -> int:
        # Another size has other gaps between its metadata, so a large file may need a few more extent nodes there.
        blocks = self.allocator.used - journal
        return size_for(blocks + 8 + blocks // 8192, self._nodes.last)

    def describe(self, label: bytes) -> None:
        """Write the tables: last, when everything they tell of is in place."""
        assert self._out
        write_tables(self._out, self._layout, self.allocator.taken, self._nodes, self._inodes, self._uuid, label, self._time)
        self._out.flush()

    def _put(self, block: int, data: bytes | memoryview) -> None:
        if self._out and not self._dry:
            self._out.write(block * BLOCK, data)

    def _copy(self, entry: Entry, runs: list[Run]) -> None:
        if self._dry:
            return
        if isinstance(entry.data, bytes):
            view, at = memoryview(entry.data), 0
            for start, length in runs:
                self._put(start, view[at : at + length * BLOCK])
                at += length * BLOCK
            self._advance(len(view))
        else:
            with contextlib.closing(entry.data()) as stream:
                self._stream(entry, stream, runs)

    def _stream(self, entry: Entry, stream: BinaryIO, runs: list[Run]) -> None:
        assert self._out
        left = entry.size
        for start, length in runs:
            offset = start * BLOCK
            end = offset + min(left, length * BLOCK)
            left -= end - offset
            while offset < end:
                data = stream.read(min(end - offset, _CHUNK))
                if not data:
                    raise BadInputError(f"file {shown(entry.path)}", "its content ends early", "fetch the archive it comes from again")
                self._out.write(offset, data)
                offset += len(data)
                self._advance(len(data))
        if stream.read(1):
            raise BadInputError(f"file {shown(entry.path)}", f"it is longer than its {entry.size} bytes", "fetch its archive again")

    def _advance(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._progress(self._done)

    def _directories(self) -> None:
        """Lay out every directory; their checksums are computed for many blocks together."""
        batch: list[tuple[int, int]] = []  # of each block, its directory's inode and its place
        content: list[bytes] = []
        for node in self._nodes.all:
            if node.kind is not Kind.DIRECTORY:
                continue
            data = ext4_directory.pack(node.names(), _LOST_FOUND_BLOCKS if node is self._nodes.lost_found else 1)
            node.size = len(data)
            node.runs = self.allocator.take(len(data) // BLOCK)
            batch += [(node.number, start + i) for start, length in node.runs for i in range(length)]
            content.append(data)
            if len(batch) >= _DIRECTORY_BATCH:
                self._write_directories(batch, b"".join(content))
                batch, content = [], []
        if batch:
            self._write_directories(batch, b"".join(content))

    def _write_directories(self, batch: list[tuple[int, int]], data: bytes) -> None:
        if self._dry:
            return
        seeds = seeds_of([number for number, _ in batch], self._seed)
        sealed = bytearray(data)
        for i, plane in enumerate(crc32c_rows(data, BLOCK, ext4_directory.ROOM, seeds)):
            sealed[ext4_directory.CHECKSUM_AT + i :: BLOCK] = plane
        view = memoryview(bytes(sealed))
        for i, (_, block) in enumerate(batch):
            self._put(block, view[i * BLOCK : (i + 1) * BLOCK])

    def _inode(self, node: Node) -> None:
        if node.kind is Kind.SYMLINK and len(node.target) >= FAST_SYMLINK:
            node.runs = self.allocator.take(1)
            self._put(node.runs[0][0], node.target)
        flags, content, blocks = self._content(node)
        attribute_block, attributes = 0, b""
        if node.attributes and ext4_xattr.fits_inode(node.attributes):
            attributes = ext4_xattr.in_inode(node.attributes)
        elif node.attributes:
            (attribute_block,) = self.allocator.numbers(1)
            self._put(attribute_block, ext4_xattr.in_block(node.attributes, attribute_block, self._seed))
            blocks += 1
        self._inodes[node.number] = Inode(
            kind=node.kind,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            size=node.size,
            time=node.time,
            links=node.links,
            blocks=blocks,
            flags=flags,
            content=content,
            attribute_block=attribute_block,
            attributes=attributes,
        ).pack()

    def _content(self, node: Node) -> tuple[int, bytes, int]:
        """The flags, the 60 bytes and the count of blocks of an inode."""
        if node.kind in (Kind.CHARACTER, Kind.BLOCK):
            return 0, device_content(*node.device), 0
        if node.kind in (Kind.FIFO, Kind.SOCKET):
            return 0, b"", 0
        if node.kind is Kind.SYMLINK and not node.runs:
            return 0, node.target, 0
        return self._extents(node.number, node.runs)

    def _extents(self, number: int, runs: list[Run]) -> tuple[int, bytes, int]:
        tree = ext4_extents.build(runs, number, self._seed, self.allocator.numbers)
        for block, data in tree.nodes:
            self._put(block, data)
        return EXTENTS_FLAG, tree.root, sum(length for _, length in runs) + len(tree.nodes)

    def _journal(self, length: int, runs: list[Run]) -> None:
        flags, content, blocks = self._extents(JOURNAL_INODE, runs)
        size = length * BLOCK
        inode = Inode(kind=Kind.FILE, mode=0o600, size=size, time=self._time, blocks=blocks, flags=flags, content=content)
        self._inodes[JOURNAL_INODE] = inode.pack()
        self._put(runs[0][0], journal_superblock(length, self._uuid))
