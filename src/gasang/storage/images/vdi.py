"""VDI, VirtualBox's images, dynamic and static: a header, a map of blocks of a MiB, the blocks."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.storage.images.blocks import ABSENT, ZERO, Blocks
from gasang.storage.images.identities import new_identity, turned
from gasang.storage.images.image import SIZE_MAX, Format, Option, Options
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store
from gasang.storage.images.tables import Table, at

SIGNATURE = 0xBEDA107F
_TEXT = b"<<< gasang VM Virtual Disk Image >>>\n"
_HEAD = struct.Struct("<64sIIIII256sIIIIIIIQIIII16s16s16s16s")
DYNAMIC, STATIC = 1, 2
_BLOCK = 1 << 20
_FREE, _ZEROED = 0xFFFFFFFF, 0xFFFFFFFE
_BLOCKS_MAX = 0x1FFFFFFF
_SECTOR = 512


class Header(NamedTuple):
    """What the header says."""

    kind: int
    map_offset: int
    data_offset: int
    size: int
    block: int
    extra: int
    blocks: int
    allocated: int
    identity: bytes


def parse(data: bytes, name: str) -> Header:
    """The header of an image. Raises BadInputError for a damaged one, UnsupportedError for a child of another image or an old version."""
    subject = f"disk {name}"
    if len(data) < _HEAD.size:
        raise BadInputError(subject, "its VDI header is cut short", "restore it from a copy")
    fields = _HEAD.unpack_from(data)
    (
        _,
        signature,
        version,
        _,
        kind,
        _,
        _,
        map_at,
        data_at,
        _,
        _,
        _,
        sector,
        _,
        size,
        block,
        extra,
        blocks,
        allocated,
        identity,
        _,
        link,
        parent,
    ) = fields
    if signature != SIGNATURE:
        raise BadInputError(subject, "it is no VDI image", "name a VDI image")
    if version >> 16 != 1 or kind not in (DYNAMIC, STATIC) or any(link) or any(parent):
        raise UnsupportedError(
            subject, f"it is a VDI of version {version:#x} and kind {kind}, perhaps a child", "convert it with what made it"
        )
    fault = (
        not 0 < size <= SIZE_MAX
        or block < _SECTOR
        or block & (block - 1)
        or sector not in (0, _SECTOR)
        or extra % _SECTOR
        or extra > block
        or not blocks <= _BLOCKS_MAX
        or blocks < -(-size // block)
        or map_at < _HEAD.size
        or data_at < map_at + blocks * 4
    )
    if fault:
        raise BadInputError(subject, "its VDI header is damaged", "restore it from a copy")
    return Header(kind, map_at, data_at, size, block, extra, blocks, allocated, identity)


def make(head: Header) -> bytes:
    """The bytes of a header."""
    cylinders = min(head.size // _SECTOR // (16 * 63), 16383)
    kind = (head.kind, 0, b"", head.map_offset, head.data_offset, cylinders, 16, 63, _SECTOR, 0, head.size, head.block)
    return _HEAD.pack(
        _TEXT,
        SIGNATURE,
        0x00010001,
        0x190,
        *kind,
        head.extra,
        head.blocks,
        head.allocated,
        head.identity,
        turned(new_identity()),
        bytes(16),
        bytes(16),
    )


class Vdi(Blocks):
    """An open VDI image."""

    def __init__(self, store: Store, head: Header) -> None:
        super().__init__(store, head.size, head.block, Table(store, "I", "little", head.blocks, at(head.map_offset, 4)))
        self.header = head
        self._stride = head.block + head.extra
        self._next = max(0, -(-(store.size() - head.data_offset) // self._stride))
        self._allocated = head.allocated

    def decode(self, entry: int) -> int:
        """Blocks are numbered by their place."""
        if entry >= _ZEROED:
            return ABSENT if entry == _FREE else ZERO
        return self.header.data_offset + entry * self._stride + self.header.extra

    def encode(self, place: int) -> int:
        """As `decode` has it."""
        return _FREE if place == ABSENT else (place - self.header.data_offset) // self._stride

    def allot(self, most: int) -> tuple[int, int]:
        """At the file's end."""
        count = 1 if self.header.extra else most
        first = self._next
        self._next += count
        self._allocated += count
        place = self.header.data_offset + first * self._stride + self.header.extra
        return place, count

    def keep(self) -> None:
        """The header tells how many blocks there are."""
        self.store.write(0, make(self.header._replace(allocated=self._allocated)))

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"subformat": "static" if self.header.kind == STATIC else "dynamic", "block_size": self.block}


def probe(head: bytes, tail: bytes) -> bool:
    """Whether a file begins as VDI does."""
    return head[64:68] == SIGNATURE.to_bytes(4, "little")


def load(store: Store) -> Vdi:
    """The image in `store`, which is closed on an error. Raises what `parse` raises."""
    try:
        head = parse(store.read(0, 512), store.name)
        if head.map_offset + head.blocks * 4 > store.size():
            raise BadInputError(f"disk {store.name}", "its map of blocks lies outside the file", "restore it from a copy")
        return Vdi(store, head)
    except BaseException:
        store.close()
        raise


def open_file(path: Path, *, read_only: bool, trust: Trust) -> Vdi:
    """The image `path`. Raises what File.open and `load` raise."""
    return load(File.open(path, read_only=read_only))


def make_image(store: Store, size: int, options: Options) -> Vdi:
    """A new image in the empty `store`. Raises UsageError for a disk that is too large."""
    size = -(-size // _SECTOR) * _SECTOR
    blocks = -(-size // _BLOCK)
    if blocks > _BLOCKS_MAX:
        raise UsageError(f"size {size}", "it is too large for VDI", "take another format")
    static = options.get("subformat") == "static"
    data_at = -(-(512 + blocks * 4) // _BLOCK) * _BLOCK
    head = Header(STATIC if static else DYNAMIC, 512, data_at, size, _BLOCK, 0, blocks, blocks if static else 0, turned(new_identity()))
    store.write(0, make(head))
    for first in range(0, blocks, 1 << 18):
        count = min(1 << 18, blocks - first)
        store.write(512 + first * 4, struct.pack(f"<{count}I", *range(first, first + count)) if static else b"\xff" * (4 * count))
    store.truncate(data_at + blocks * _BLOCK if static else data_at)
    return Vdi(store, head)


def create_file(path: Path, size: int, options: Options) -> Vdi:
    """A new image `path`."""
    return File.filled(path, lambda store: make_image(store, size, options))


FORMAT = Format(
    "vdi",
    "VirtualBox's images",
    (".vdi",),
    probe,
    open_file,
    create_file,
    load,
    (Option("subformat", "blocks come when they are written, or are there from the start", ("dynamic", "static"), "dynamic"),),
)
