"""VHD, Virtual PC's and Xen's images: fixed, dynamic, and differencing ones (Virtual Hard Disk Image Format Specification 1.0).

The footer ends the file, and dynamic images begin with a copy of it, so that a new block may lie where the footer was.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.core.protocols import Block
from gasang.storage.images.blocks import ABSENT, Blocks
from gasang.storage.images.identities import new_identity
from gasang.storage.images.image import SECTOR, SIZE_MAX, Format, Image, Option, Options, check_write
from gasang.storage.images.raw import RawImage
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store
from gasang.storage.images.stretch import Stretch
from gasang.storage.images.tables import Table, at

COOKIE, DYNAMIC_COOKIE = b"conectix", b"cxsparse"
_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_DYNAMIC = struct.Struct(">8sQQIIII16sII512s")
_LOCATOR = struct.Struct(">4sIIIQ")
_LOCATORS_AT = 576
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
_NONE = 0xFFFFFFFF
_NOWHERE = 0xFFFFFFFFFFFFFFFF
_BLOCK = 2 << 20
_SECTORS_MAX = 0xFF000000
_EPOCH = 946684800
_CHS_MAX = 65535 * 16 * 255
_BY_GEOMETRY = (b"vpc ", b"qemu")
"""Programs whose disks are as large as their geometry, not as the size beside it."""


class Footer(NamedTuple):
    """What a footer says. `header_at` is the dynamic header's place."""

    kind: int
    size: int
    header_at: int
    identity: bytes
    creator: bytes = b"win "
    stamp: int = 0


class Dynamic(NamedTuple):
    """What the header of a dynamic image says; `parents` are the names that it has for its parent."""

    table_at: int
    entries: int
    block: int
    parent: bytes
    parents: tuple[str, ...]


def checksum(data: bytes, where: int) -> int:
    """The ones' complement of the sum of all bytes but the checksum's own four."""
    return ~(sum(data) - sum(data[where : where + 4])) & 0xFFFFFFFF


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors a track, as the specification's appendix computes them."""
    sectors = min(sectors, _CHS_MAX)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    tracks = 17
    cylinder_heads = sectors // tracks
    heads = max(4, (cylinder_heads + 1023) // 1024)
    if cylinder_heads >= heads * 1024 or heads > 16:
        tracks, heads = 31, 16
        cylinder_heads = sectors // tracks
    if cylinder_heads >= heads * 1024:
        tracks, heads = 63, 16
        cylinder_heads = sectors // tracks
    return cylinder_heads // heads, heads, tracks


def parse_footer(data: bytes, name: str) -> Footer:
    """A footer, or its copy. Raises BadInputError for a damaged one, UnsupportedError for another kind or version."""
    subject = f"disk {name}"
    damaged = BadInputError(subject, "its VHD footer is damaged", "restore it from a copy")
    if len(data) < 511 or data[:8] != COOKIE:
        raise damaged
    fields = _FOOTER.unpack(data[:512].ljust(512, b"\0"))
    _, _, version, header_at, stamp, creator, _, _, _, size, cylinders, heads, tracks, kind, check, identity, _ = fields
    if check != checksum(data[:512], 64):
        raise damaged
    if version >> 16 != 1 or kind not in (FIXED, DYNAMIC, DIFFERENCING):
        raise UnsupportedError(subject, f"it is a VHD of version {version:#x} and kind {kind}", "convert it with what made it")
    chs = cylinders * heads * tracks
    if creator in _BY_GEOMETRY and chs and chs != _CHS_MAX:
        size = chs * SECTOR
    if not 0 < size <= SIZE_MAX or size % SECTOR:
        raise damaged
    return Footer(kind, size, header_at, identity, creator, stamp)


def make_footer(footer: Footer) -> bytes:
    """The bytes of a footer."""
    chs = geometry(footer.size // SECTOR)
    at_header = _NOWHERE if footer.kind == FIXED else footer.header_at
    fields = (COOKIE, 2, 0x10000, at_header, footer.stamp, footer.creator, 0x60001, b"Wi2k", footer.size, footer.size, *chs, footer.kind)
    data = _FOOTER.pack(*fields, 0, footer.identity, 0)
    return data[:64] + checksum(data, 64).to_bytes(4, "big") + data[68:]


def parse_dynamic(data: bytes, name: str, size: int, store: Store) -> Dynamic:
    """The header of a dynamic image. Raises BadInputError for a damaged one."""
    damaged = BadInputError(f"disk {name}", "its VHD header is damaged", "restore it from a copy")
    cookie, _, table_at, version, entries, block, check, parent, _, _, title = _DYNAMIC.unpack_from(data)
    if cookie != DYNAMIC_COOKIE or version >> 16 != 1 or check != checksum(data[:1024], 36):
        raise damaged
    if block < SECTOR or block & (block - 1) or block > 1 << 28 or entries < -(-size // block) or table_at + entries * 4 > store.size():
        raise damaged
    names = []
    for number in range(8):
        code, _, length, _, where = _LOCATOR.unpack_from(data, _LOCATORS_AT + number * _LOCATOR.size)
        if code in (b"W2ru", b"W2ku") and 0 < length <= 4096 and where + length <= store.size():
            names.append(store.read(where, length).decode("utf-16-le", "replace").replace("\\", "/"))
    names.append(title.decode("utf-16-be", "replace").split("\0")[0].replace("\\", "/"))
    return Dynamic(table_at, entries, block, parent, tuple(name.rstrip("\0") for name in names if name.rstrip("\0")))


class Fixed(RawImage):
    """A fixed image: the disk, and a footer behind it."""

    def __init__(self, store: Store, footer: Footer) -> None:
        super().__init__(store)
        self.size = footer.size

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk, if it is read-only or if the host fails."""
        check_write(self, offset, len(data))
        self.store.write(offset, data)

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        for offset, length in self.store.data():
            if offset < self.size:
                yield offset, min(length, self.size - offset)

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"subformat": "fixed"}

    def resize(self, size: int) -> None:
        """The footer stands in the way. Raises UnsupportedError."""
        raise UnsupportedError(f"disk {self.store.name}", "a VHD image does not change its size here", "convert it to another format")


class Vhd(Blocks):
    """A dynamic or differencing image. In the latter each sector of a block has a bit that says whose it is."""

    def __init__(self, store: Store, footer: Footer, head: Dynamic, parent: Block | None = None) -> None:
        super().__init__(store, footer.size, head.block, Table(store, "I", "big", head.entries, at(head.table_at, 4)), parent)
        self.footer = footer
        self._map = -(-head.block // SECTOR // 8 // SECTOR) * SECTOR or SECTOR
        self._next = max(-(-store.size() // SECTOR) * SECTOR, head.table_at + head.entries * 4)
        if store.size() >= 1024 and store.read(store.size() - SECTOR, 8) == COOKIE and store.size() % SECTOR == 0:
            self._next = store.size() - SECTOR
        self._next = max(self._next, -(-(head.table_at + head.entries * 4) // SECTOR) * SECTOR)

    def decode(self, entry: int) -> int:
        """Entries are sectors; the map of the block's sectors stands before its data."""
        return ABSENT if entry == _NONE else entry * SECTOR + self._map

    def encode(self, place: int) -> int:
        """As `decode` has it."""
        return _NONE if place == ABSENT else (place - self._map) // SECTOR

    def allot(self, most: int) -> tuple[int, int]:
        """Over the footer, which moves: a map that says all sectors are here, and the block."""
        first = self._next
        if first // SECTOR >= _NONE:
            raise UnsupportedError(f"disk {self.store.name}", "it cannot become larger", "convert it to another format")
        self._next = first + self._map + self.block
        bits = self.block // SECTOR // 8 or 1
        self.store.write(first, (b"\xff" * bits).ljust(self._map, b"\0"))
        return first + self._map, 1

    def keep(self) -> None:
        """The footer stands at the end."""
        self.store.write(self._next, make_footer(self.footer))

    def end(self) -> None:
        """The footer stands at the end."""
        self.keep()

    def fetch(self, place: int, offset: int, length: int) -> bytes:
        """The bytes of a part of the disk; in a differencing image sector by sector from where they are."""
        if place < 0 or self.footer.kind != DIFFERENCING:
            return super().fetch(place, offset, length)
        parts = []
        for begin, span, own in self._owners(place, offset, length):
            parts.append(self.store.read(place + begin - offset, span) if own else self.below(begin, span))
        return b"".join(parts)

    def lying(self, place: int, offset: int, length: int) -> Stretch | None:
        """As `fetch`, unread; a differencing image is read."""
        return None if self.footer.kind == DIFFERENCING else super().lying(place, offset, length)

    def places(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """As Blocks has it, never more than a block at a time: maps stand between them."""
        end = offset + length
        while offset < end:
            step = min(self.block - offset % self.block, end - offset)
            yield from super().places(offset, step)
            offset += step

    def _owners(self, place: int, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """(offset, length, whether it is here) of the sectors of a range within a block."""
        bits = self.store.read(place - offset % self.block - self._map, self._map)
        end = offset + length
        while offset < end:
            first = offset % self.block // SECTOR
            own = bool(bits[first // 8] & 0x80 >> first % 8)
            sector = first + 1
            while sector * SECTOR < end - offset // self.block * self.block and bool(bits[sector // 8] & 0x80 >> sector % 8) == own:
                sector += 1
            stop = min(end, offset // self.block * self.block + sector * SECTOR)
            yield offset, stop - offset, own
            offset = stop

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"subformat": "differencing" if self.footer.kind == DIFFERENCING else "dynamic", "block_size": self.block}


def probe(head: bytes, tail: bytes) -> bool:
    """Whether a file begins as a dynamic VHD does, or ends as a fixed one."""
    return head.startswith(COOKIE) or tail.startswith(COOKIE)


def open_file(path: Path, *, read_only: bool, trust: Trust) -> Image:
    """The image `path`; a differencing one for reading only, over its parent where `trust` lets it. Raises a GasangError."""
    return load(File.open(path, read_only=read_only), path, trust)


def load_alone(store: Store) -> Image:
    """The image in `store`, whose parent is not followed."""
    return load(store, Path(store.name), Trust(beside=False))


def load(store: Store, path: Path, trust: Trust) -> Image:
    """The image in `store`, which is closed on an error."""
    try:
        size = store.size()
        footer = _footer(store)
        if footer.kind == FIXED:
            if footer.size > size - SECTOR:
                raise BadInputError(f"disk {store.name}", "it is shorter than its footer says", "restore it from a copy")
            return Fixed(store, footer)
        if footer.header_at + 1024 > size:
            raise BadInputError(f"disk {store.name}", "its VHD header lies outside the file", "restore it from a copy")
        head = parse_dynamic(store.read(footer.header_at, 1024), store.name, footer.size, store)
        if footer.kind == DYNAMIC:
            return Vhd(store, footer, head)
        if not store.read_only:
            raise UnsupportedError(f"disk {store.name}", "a differencing image is only read here", "open it for reading, or convert it")
        return Vhd(store, footer, head, _parent(path, head, trust))
    except BaseException:
        store.close()
        raise


def _footer(store: Store) -> Footer:
    """The footer, or the copy of it that all but fixed images begin with.

    The copy goes first: when the power went while an image grew, its guest's own bytes stand where the footer was, and could say
    that there is a parent. Raises as `parse_footer`.
    """
    tail, head = store.read(max(0, store.size() - SECTOR), SECTOR), store.read(0, SECTOR)
    found = []
    for data in (tail, head):
        with contextlib.suppress(BadInputError, UnsupportedError):
            found.append(parse_footer(data, store.name))
    if not found:
        return parse_footer(tail if tail.startswith(COOKIE) else head, store.name)
    return found[0] if found[0].kind == FIXED else found[-1]


def _parent(path: Path, head: Dynamic, trust: Trust) -> Block:
    if not head.parents:
        raise BadInputError(f"disk {path}", "it does not say which image it stands on", "restore it from a copy")
    names = [name for name in head.parents if (path.parent / name).exists()] or [head.parents[0]]
    below = trust.follow(path, names[0])
    parent = load(File.open(below, read_only=True), below, trust.below(path))
    identity = parent.footer.identity if isinstance(parent, Vhd) else head.parent
    if identity != head.parent:
        parent.close()
        raise BadInputError(f"disk {path}", f"{below} is not the image it was made on", "restore its parent from a copy")
    return parent


def make_image(store: Store, size: int, options: Options) -> Image:
    """A new image in the empty `store`. Raises UsageError for a disk that is too large."""
    size = -(-size // SECTOR) * SECTOR
    if size // SECTOR > _SECTORS_MAX:
        raise UsageError(f"size {size}", "VHD has 2040 GiB at most", "take VHDX")
    stamp = max(0, int(time.time()) - _EPOCH)
    if options.get("subformat") == "fixed":
        footer = Footer(FIXED, size, _NOWHERE, new_identity(), stamp=stamp)
        store.truncate(size)
        store.write(size, make_footer(footer))
        return Fixed(store, footer)
    footer = Footer(DYNAMIC, size, SECTOR, new_identity(), stamp=stamp)
    entries = -(-size // _BLOCK)
    header = bytearray(_DYNAMIC.pack(DYNAMIC_COOKIE, _NOWHERE, 1536, 0x10000, entries, _BLOCK, 0, bytes(16), 0, 0, b"").ljust(1024, b"\0"))
    header[36:40] = checksum(bytes(header), 36).to_bytes(4, "big")
    store.write(0, make_footer(footer))
    store.write(SECTOR, header)
    table = -(-entries * 4 // SECTOR) * SECTOR
    store.write(1536, b"\xff" * table)
    store.write(1536 + table, make_footer(footer))
    return Vhd(store, footer, Dynamic(1536, entries, _BLOCK, bytes(16), ()))


def create_file(path: Path, size: int, options: Options) -> Image:
    """A new image `path`."""
    return File.filled(path, lambda store: make_image(store, size, options))


FORMAT = Format(
    "vhd",
    "Virtual PC's and Xen's images",
    (".vhd", ".vpc"),
    probe,
    open_file,
    create_file,
    load_alone,
    (Option("subformat", "blocks come when they are written, or are there from the start", ("dynamic", "fixed"), "dynamic"),),
)
