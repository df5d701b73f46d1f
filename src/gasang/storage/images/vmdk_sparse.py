"""A VMDK sparse extent: a directory of grain tables, plain or with compressed grains (Virtual Disk Format 5.0, "Hosted Sparse Extents")."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

from gasang.core.errors import BadInputError, StateError, UnsupportedError
from gasang.storage.images.blocks import ABSENT, ZERO, Blocks
from gasang.storage.images.image import SECTOR, SIZE_MAX, Report, check_write
from gasang.storage.images.store import Store, Volatile
from gasang.storage.images.stretch import Stretch
from gasang.storage.images.tables import Table

MAGIC = b"KDMV"
_HEAD = struct.Struct("<4sIIQQQQIQQQBccccH433x")
_AT_END = 0xFFFFFFFFFFFFFFFF
_REDUNDANT, _ZEROED, _COMPRESSED, _MARKERS = 2, 4, 1 << 16, 1 << 17
_DEFLATE = 1
_LINES = (b"\n", b" ", b"\r", b"\n")
_PER_TABLE = 512
_DIRECTORY_MAX = 1 << 20
GRAIN = 1 << 16
"""Bytes of a grain that we make."""


class Header(NamedTuple):
    """What the header says; offsets and sizes in bytes but for those named sectors."""

    version: int
    flags: int
    size: int
    grain: int
    descriptor_at: int
    descriptor: int
    per_table: int
    redundant_at: int
    directory_at: int
    overhead: int
    compression: int

    @property
    def tables(self) -> int:
        """How many grain tables there are."""
        return -(-self.size // (self.grain * self.per_table))


def parse(data: bytes, name: str) -> Header:
    """A header. Raises BadInputError for a damaged one, UnsupportedError for another version."""
    subject = f"disk {name}"
    damaged = BadInputError(subject, "its VMDK header is damaged", "restore it from a copy")
    if len(data) < SECTOR or data[:4] != MAGIC:
        raise damaged
    (_, version, flags, sectors, grain, text_at, text, per_table, redundant, directory, overhead, _, *_, compression) = _HEAD.unpack(
        data[:SECTOR]
    )
    if version not in (1, 2, 3):
        raise UnsupportedError(subject, f"it is VMDK version {version}", "convert it with what made it")
    if compression > _DEFLATE:
        raise UnsupportedError(subject, f"it has compression {compression}", "convert it with what made it")
    if not 0 < sectors <= SIZE_MAX // SECTOR or not 8 <= grain <= 1 << 16 or grain & (grain - 1) or not 0 < per_table <= 1 << 16:
        raise damaged
    head = Header(
        version, flags, sectors * SECTOR, grain * SECTOR, text_at * SECTOR, text * SECTOR, per_table, 0, 0, overhead * SECTOR, compression
    )
    if head.tables > _DIRECTORY_MAX * 16 or text > 1 << 12:
        raise damaged
    place = _AT_END if directory == _AT_END else directory * SECTOR
    return head._replace(redundant_at=redundant * SECTOR, directory_at=place)


def make(head: Header) -> bytes:
    """The bytes of a header."""
    directory = _AT_END if head.directory_at == _AT_END else head.directory_at // SECTOR
    sectors = (head.size // SECTOR, head.grain // SECTOR, head.descriptor_at // SECTOR, head.descriptor // SECTOR, head.per_table)
    rest = (head.redundant_at // SECTOR, directory, head.overhead // SECTOR, 0, *_LINES, head.compression)
    return _HEAD.pack(MAGIC, head.version, head.flags, *sectors, *rest)


class Sparse(Blocks):
    """An open sparse extent."""

    def __init__(self, store: Store, head: Header) -> None:
        self.head = head
        self._directory = self._load_directory(store, head.directory_at, head)
        redundant = head.flags & _REDUNDANT and not store.read_only
        self._second = self._load_directory(store, head.redundant_at, head) if redundant else array("I")
        self._new_tables: set[int] = set()
        count = -(-head.size // head.grain)
        super().__init__(store, head.size, head.grain, Table(store, "I", "little", count, self._tables, head.per_table))
        self._next = -(-max(store.size(), head.overhead) // SECTOR) * SECTOR

    @staticmethod
    def _load_directory(store: Store, where: int, head: Header) -> array[int]:
        if where + head.tables * 4 > store.size() or not where:
            raise BadInputError(f"disk {store.name}", "its grain directory lies outside the file", "restore it from a copy")
        return _words(store.read(where, head.tables * 4))

    def _tables(self, page: int) -> tuple[int, ...]:
        places = [directory[page] * SECTOR for directory in (self._directory, self._second) if directory and directory[page]]
        if any(place >= self.store.size() for place in places):
            raise BadInputError(f"disk {self.store.name}", "a grain table lies outside the file", "restore it from a copy")
        return tuple(places)

    def decode(self, entry: int) -> int:
        """Entries are sectors; 1 is a grain of zeroes where the header says so."""
        if entry == 1 and self.head.flags & _ZEROED:
            return ZERO
        return entry * SECTOR if entry else ABSENT

    def encode(self, place: int) -> int:
        """As `decode` has it."""
        return 0 if place == ABSENT else place // SECTOR

    def allot(self, most: int) -> tuple[int, int]:
        """At the file's end."""
        place = self._next
        self._next += most * self.block
        if self._next // SECTOR > 0xFFFFFFFF:
            raise UnsupportedError(f"disk {self.store.name}", "an extent cannot become larger", "convert it to another format")
        return place, most

    def fits(self, place: int) -> bool:
        """Whether a grain may begin at `place`."""
        return place >= SECTOR

    def flush(self) -> None:
        """Return once everything written is on stable storage. Tables that are new get a place first."""
        if self._begun:
            fresh = [page for page in self.table.dirty_pages if not self._directory[page]]
            for page in fresh:
                for directory in (self._directory, self._second):
                    if directory:
                        place = -(-self._next // SECTOR) * SECTOR
                        self._next = place + -(-self.head.per_table * 4 // SECTOR) * SECTOR
                        self.extend(self._next)
                        directory[page] = place // SECTOR
            super().flush()
            if fresh:
                for directory, where in ((self._directory, self.head.directory_at), (self._second, self.head.redundant_at)):
                    if directory:
                        self.store.write(where, _bytes(directory))
                self.store.flush()

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"block_size": self.block, "version": self.head.version}

    def check(self, *, repair: bool = False) -> Report:
        """As Blocks has it."""
        if self.head.compression and repair:
            raise UnsupportedError(f"disk {self.store.name}", "compressed grains are not repaired", "convert what can be read")
        return super().check(repair=repair)


class Compressed(Sparse):
    """A sparse extent with compressed grains, made for transport: each grain is written once, and then the tables."""

    def __init__(self, store: Store, head: Header, *, fresh: bool = False) -> None:
        if fresh:
            self._bare(store, head)
        else:
            super().__init__(store, head)
            self.read_only = True
        self._fresh = fresh
        self._kept: tuple[int, bytes] = (-1, b"")
        self.compressed_piece = head.grain

    def _bare(self, store: Store, head: Header) -> None:
        self.head = head
        self._directory, self._second = array("I", bytes(4 * head.tables)), array("I")
        empty = Volatile(name=store.name)
        Blocks.__init__(
            self, store, head.size, head.grain, Table(empty, "I", "little", -(-head.size // head.grain), lambda page: (), head.per_table)
        )
        self._entries: dict[int, array[int]] = {}
        self._next = store.size()

    def place(self, block: int) -> int:
        """Where a grain's marker begins."""
        if self._fresh:
            row = self._entries.get(block // self.head.per_table)
            return self.decode(row[block % self.head.per_table]) if row else ABSENT
        return super().place(block)

    def places(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """As Blocks has it, never more than a grain at a time, each with the place of its marker."""
        end = offset + length
        while offset < end:
            step = min(self.block - offset % self.block, end - offset)
            yield self.place(offset // self.block), step
            offset += step

    def fetch(self, place: int, offset: int, length: int) -> bytes:
        """The bytes of a part of a grain."""
        if place < 0:
            return bytes(length)
        if self._kept[0] != place:
            self._kept = place, self._expand(place, offset // self.block)
        inside = offset % self.block
        return self._kept[1][inside : inside + length]

    def lying(self, place: int, offset: int, length: int) -> Stretch | None:
        """Compressed grains have to be read."""
        return None

    def _expand(self, place: int, block: int) -> bytes:
        number, size = struct.unpack("<QI", self.store.read(place, 12))
        damaged = BadInputError(f"disk {self.store.name}", f"the compressed grain {block} is damaged", "restore it from a copy")
        if self.head.flags & _MARKERS:
            if number * SECTOR != block * self.block:
                raise damaged
            place += 12
        else:
            size = self.block
        if not size or size > self.block * 2:
            raise damaged
        try:
            made = zlib.decompressobj().decompress(self.store.read(place, size), self.block)
        except zlib.error as error:
            raise damaged from error
        if len(made) < min(self.block, self.size - block * self.block):
            raise damaged
        return made.ljust(self.block, b"\0")

    def compress(self, data: bytes) -> bytes | None:
        """A grain made small. Safe from any thread."""
        return zlib.compress(data.ljust(self.block, b"\0"), 6)

    def write_compressed(self, offset: int, packed: bytes) -> None:
        """Append a grain. Raises StateError for one that was written before."""
        page, at = divmod(offset // self.block, self.head.per_table)
        row = self._entries.setdefault(page, array("I", bytes(4 * self.head.per_table)))
        if row[at]:
            raise StateError(f"disk {self.store.name}", "a compressed grain is written once", "take another subformat")
        row[at] = self._next // SECTOR
        body = struct.pack("<QI", offset // SECTOR, len(packed)) + packed
        self._append(body)

    def _append(self, body: bytes) -> int:
        place = self._next
        self.store.write(place, body + bytes(-len(body) % SECTOR))
        self._next += -(-len(body) // SECTOR) * SECTOR
        return place

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store whole grains, each once. Raises StateError for anything else, OSError as Blocks does."""
        check_write(self, offset, len(data))
        view = memoryview(data)
        if offset % self.block or (len(view) % self.block and offset + len(view) != self.size):
            raise StateError(f"disk {self.store.name}", "only whole grains can be written to it", "take another subformat")
        for at in range(0, len(view), self.block):
            packed = self.compress(bytes(view[at : at + self.block]))
            assert packed is not None
            self.write_compressed(offset + at, packed)

    def take(self, offset: int, stretch: Stretch) -> None:
        """As `write`."""
        self.write(offset, bytes(stretch))

    def discard(self, offset: int, length: int) -> None:
        """What was not written is zeroes anyway. Raise OSError as `write` does."""
        check_write(self, offset, length)

    def flush(self) -> None:
        """Return once what was written is on stable storage; the tables follow when it is closed."""
        if not self.read_only:
            self.store.flush()

    def close(self) -> None:
        """Append the tables of a new extent, and give the file back."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._fresh:
                self._finish()
        finally:
            self.store.close()

    def _finish(self) -> None:
        for page, row in sorted(self._entries.items()):
            self._append(_marker(-(-len(row) * 4 // SECTOR), 1))
            self._directory[page] = self._append(_bytes(row)) // SECTOR
        self._append(_marker(-(-len(self._directory) * 4 // SECTOR), 2))
        directory_at = self._append(_bytes(self._directory))
        self._append(_marker(1, 3))
        footer = self.head._replace(directory_at=directory_at)
        self._append(make(footer))
        self._append(bytes(SECTOR))
        self.store.flush()

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {**super().about(), "compressed": True}


def _marker(sectors: int, kind: int) -> bytes:
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


def _words(data: bytes) -> array[int]:
    return array("I", struct.unpack(f"<{len(data) // 4}I", data))


def _bytes(words: array[int]) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def load(store: Store) -> Sparse:
    """The extent in `store`. Raises what `parse` raises."""
    head = parse(store.read(0, SECTOR), store.name)
    if head.directory_at == _AT_END:
        head = parse(store.read(max(0, store.size() - 2 * SECTOR), SECTOR), store.name)
    if head.directory_at == _AT_END:
        raise BadInputError(f"disk {store.name}", "its grain directory is missing", "restore it from a copy")
    return Compressed(store, head) if head.flags & _COMPRESSED and head.compression else Sparse(store, head)


def make_extent(store: Store, size: int, descriptor: bytes, *, compressed: bool) -> Sparse:
    """A new extent in the empty `store`, with `descriptor` in it unless that is empty."""
    text = 20 * SECTOR if descriptor else 0
    flags = 1 | (_COMPRESSED | _MARKERS if compressed else _REDUNDANT)
    head = Header(3 if compressed else 1, flags, size, GRAIN, SECTOR if text else 0, text, _PER_TABLE, 0, _AT_END, 0, int(compressed))
    if compressed:
        overhead = -(-(SECTOR + text) // GRAIN) * GRAIN
        head = Header(3, flags, size, GRAIN, SECTOR if text else 0, text, _PER_TABLE, 0, _AT_END, overhead, _DEFLATE)
        store.write(0, make(head))
        store.write(SECTOR, descriptor.ljust(text, b"\0"))
        store.truncate(overhead)
        return Compressed(store, head, fresh=True)
    directory = -(-head.tables * 4 // SECTOR) * SECTOR
    tables = head.tables * _PER_TABLE * 4
    redundant_at = SECTOR + text
    directory_at = redundant_at + directory + tables
    overhead = -(-(directory_at + directory + tables) // GRAIN) * GRAIN
    head = Header(1, flags, size, GRAIN, SECTOR if text else 0, text, _PER_TABLE, redundant_at, directory_at, overhead, 0)
    store.write(0, make(head))
    if text:
        store.write(SECTOR, descriptor.ljust(text, b"\0"))
    for where in (redundant_at, directory_at):
        first = (where + directory) // SECTOR
        store.write(where, _bytes(array("I", range(first, first + head.tables * 4, 4))))
    store.truncate(overhead)
    return Sparse(store, head)
