"""VHDX, Hyper-V's images, dynamic and fixed (MS-VHDX). An unfinished log is replayed: into the file, or in memory where that is only read.

We log nothing ourselves: an entry of the block table is one aligned word, written when its block is stable. So nothing is ever half done.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, UsageError
from gasang.core.units import parse_size
from gasang.storage.images import vhdx_layout as layout
from gasang.storage.images.blocks import ABSENT, ZERO, Blocks
from gasang.storage.images.identities import new_identity, turned
from gasang.storage.images.image import Format, Option, Options
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store
from gasang.storage.images.tables import Table, at
from gasang.storage.images.vhdx_layout import MIB, Header, Metadata

_PRESENT, _PARTIAL = 6, 7
_ZEROES = (2, 3)
_LARGEST = 64 << 40


class Vhdx(Blocks):
    """An open VHDX image."""

    def __init__(self, store: Store, head: Header, meta: Metadata, bat_at: int) -> None:
        self._ratio = (meta.sector << 23) // meta.block
        count = -(-meta.size // meta.block)
        entries = count + (count - 1) // self._ratio
        super().__init__(store, meta.size, meta.block, Table(store, "Q", "little", entries, at(bat_at, 8)))
        self.meta = meta
        self.header = head
        self._next = max(MIB, -(-store.size() // MIB) * MIB)

    def index(self, block: int) -> int:
        """After each chunk of blocks stands the entry of a bitmap, which only images with a parent have."""
        return block + block // self._ratio

    def decode(self, entry: int) -> int:
        """A state and a place in MiB (section 2.5.1)."""
        state = entry & 7
        if state in (_PRESENT, _PARTIAL):
            return entry >> 20 << 20
        return ZERO if state in _ZEROES else ABSENT

    def encode(self, place: int) -> int:
        """As `decode` has it."""
        return place | _PRESENT if place >= 0 else 0

    def allot(self, most: int) -> tuple[int, int]:
        """At the file's end."""
        place = self._next
        self._next += most * self.block
        return place, most

    def fits(self, place: int) -> bool:
        """Whether a block may begin at `place`."""
        return place >= MIB

    def begin(self) -> None:
        """New write identities (section 2.2.2.1)."""
        store_header(self.store, self.header, turned(new_identity()))

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"subformat": "fixed" if self.meta.fixed else "dynamic", "block_size": self.block, "sector_size": self.meta.sector}


class Replayed:
    """A store that is read as if a log had been replayed into it."""

    def __init__(self, store: Store, entries: list[layout.LogEntry]) -> None:
        self._store = store
        self._entries = entries
        self.name = store.name
        self.read_only = True

    def size(self) -> int:
        """Bytes up to the end that the log says there is."""
        return max(self._store.size(), self._entries[-1].last)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes, as the last entry that has them says."""
        data = self._store.read(offset, length)
        changed: bytearray | None = None
        for entry in self._entries:
            for where, what in entry.writes:
                span = what if isinstance(what, int) else len(what)
                begin, end = max(offset, where), min(offset + length, where + span)
                if begin < end:
                    changed = bytearray(data) if changed is None else changed
                    piece = bytes(end - begin) if isinstance(what, int) else what[begin - where : end - where]
                    changed[begin - offset : end - offset] = piece
        return data if changed is None else bytes(changed)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """It is only read. Raises OSError."""
        raise OSError(f"{self.name} is open for reading only")

    def truncate(self, size: int) -> None:
        """It is only read. Raises OSError."""
        raise OSError(f"{self.name} is open for reading only")

    def punch(self, offset: int, length: int) -> bool:
        """It is only read."""
        return False

    def data(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        yield 0, self.size()

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Give the file back."""
        self._store.close()


def probe(head: bytes, tail: bytes) -> bool:
    """Whether a file begins as VHDX does."""
    return head.startswith(layout.FILE_ID)


def load(store: Store) -> Vhdx:
    """The image in `store`, which is closed on an error. Raises BadInputError, UnsupportedError, OSError."""
    try:
        if store.read(0, 8) != layout.FILE_ID:
            raise BadInputError(f"disk {store.name}", "it is no VHDX image", "name a VHDX image")
        heads = [head for where in layout.HEADERS_AT if (head := layout.parse_header(store.read(where, 4096)))]
        if not heads:
            raise layout.damaged(store.name, "header")
        head = max(heads, key=lambda each: each.sequence)
        if any(head.log):
            store = _replay(store, head)
        return _open(store, head)
    except BaseException:
        store.close()
        raise


def _open(store: Store, head: Header) -> Vhdx:
    try:
        regions = layout.parse_regions(store.read(layout.REGIONS_AT[0], layout.REGION), store.name)
    except BadInputError:
        regions = layout.parse_regions(store.read(layout.REGIONS_AT[1], layout.REGION), store.name)
    (bat_at, bat_length), (meta_at, meta_length) = regions[layout.BAT], regions[layout.METADATA]
    if not layout.REGION <= meta_length <= 16 * MIB or meta_at + meta_length > store.size() or bat_at + bat_length > store.size():
        raise layout.damaged(store.name, "region table")
    meta = layout.parse_metadata(store.read(meta_at, meta_length), store.name)
    image = Vhdx(store, head, meta, bat_at)
    if image.table.count * 8 > bat_length:
        raise layout.damaged(store.name, "block table")
    return image


def _replay(store: Store, head: Header) -> Store:
    """Do what the log says has been promised (section 2.3.3); what is then read."""
    if not 0 < head.log_length <= layout.LOG_MAX or head.log_at + head.log_length > store.size():
        raise layout.damaged(store.name, "log")
    entries = layout.pending(store.read(head.log_at, head.log_length), head.log, store.name)
    if store.size() < entries[-1].flushed or entries[-1].last > max(store.size(), 1) * 2 + (1 << 40):
        raise layout.damaged(store.name, "log")
    if store.read_only:
        return Replayed(store, entries)
    for entry in entries:
        for where, what in entry.writes:
            if not isinstance(what, int):
                store.write(where, what)
            elif where < store.size() and not store.punch(where, min(what, store.size() - where)):
                for offset in range(where, min(where + what, store.size()), MIB):
                    store.write(offset, bytes(min(MIB, where + what - offset, store.size() - offset)))
    if store.size() < entries[-1].last:
        store.truncate(entries[-1].last)
    store.flush()
    head.log = bytes(16)
    store_header(store, head, turned(new_identity()))
    return store


def store_header(store: Store, head: Header, write: bytes) -> None:
    """Write both headers, one after the other, with a new identity: one of them is valid at any time."""
    head.file_write = head.data_write = write
    for _ in range(2):
        head.sequence += 1
        store.write(layout.HEADERS_AT[head.sequence % 2], layout.make_header(head))
        store.flush()


def open_file(path: Path, *, read_only: bool, trust: Trust) -> Vhdx:
    """The image `path`. Raises what File.open and `load` raise."""
    return load(File.open(path, read_only=read_only))


def make_image(store: Store, size: int, options: Options) -> Vhdx:
    """A new image in the empty `store`. Raises UsageError for a block size that is none and a disk that is too large."""
    size = -(-size // 512) * 512
    block = parse_size(options["block_size"], "block_size") if "block_size" in options else 8 * MIB if size < 1 << 40 else 32 * MIB
    if not MIB <= block <= 256 * MIB or block & (block - 1):
        raise UsageError("block_size", f"{block} bytes is no power of two from 1 MiB to 256 MiB", "leave it out")
    if size > _LARGEST:
        raise UsageError(f"size {size}", "VHDX has 64 TiB at most", "take another format")
    fixed = options.get("subformat") == "fixed"
    meta = Metadata(size, block, fixed)
    blocks = -(-size // block)
    entries = blocks + (blocks - 1) // ((512 << 23) // block)
    bat = (3 * MIB, -(-entries * 8 // MIB) * MIB)
    head = Header(1, turned(new_identity()), turned(new_identity()), bytes(16), MIB, MIB)
    store.write(0, layout.FILE_ID + "gasang".encode("utf-16-le"))
    store.write(layout.HEADERS_AT[1], layout.make_header(head))
    head.sequence += 1
    store.write(layout.HEADERS_AT[0], layout.make_header(head))
    regions = layout.make_regions(bat, (2 * MIB, MIB))
    for where in layout.REGIONS_AT:
        store.write(where, regions)
    store.write(2 * MIB, layout.make_metadata(meta))
    store.truncate(sum(bat))
    image = Vhdx(store, head, meta, bat[0])
    if fixed:
        place, _ = image.allot(blocks)
        image.extend(place + blocks * block)
        for number in range(blocks):
            image.table[image.index(number)] = image.encode(place + number * block)
        image.table.write()
    return image


def create_file(path: Path, size: int, options: Options) -> Vhdx:
    """A new image `path`."""
    return File.filled(path, lambda store: make_image(store, size, options))


FORMAT = Format(
    "vhdx",
    "Hyper-V's images",
    (".vhdx",),
    probe,
    open_file,
    create_file,
    load,
    (
        Option("subformat", "blocks come when they are written, or are there from the start", ("dynamic", "fixed"), "dynamic"),
        Option("block_size", "bytes of a block, 1M to 256M", ()),
    ),
)
