"""VMDK, VMware's images: one sparse file, flat ones, split ones, and compressed ones for transport (Virtual Disk Format 5.0)."""

from __future__ import annotations

from pathlib import Path

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.storage.images import vmdk_descriptor as descriptors
from gasang.storage.images import vmdk_sparse as sparse
from gasang.storage.images.concat import Concat, Part, files_of
from gasang.storage.images.image import SECTOR, SIZE_MAX, Format, Image, Option, Options
from gasang.storage.images.raw import RawImage
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store, Volatile
from gasang.storage.images.vmdk_descriptor import Extent

KINDS = ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized")
_PART = 2 << 30
_SPARSE, _FLAT = ("SPARSE",), ("FLAT", "VMFS")


class _Zeroes(RawImage):
    """An extent that is nowhere."""

    def __init__(self, size: int) -> None:
        super().__init__(Volatile(read_only=True))
        self.size = size


def probe(head: bytes, tail: bytes) -> bool:
    """Whether a file begins as a sparse extent or a descriptor does."""
    return head.startswith(sparse.MAGIC) or descriptors.TEXT in head[:512]


def load(store: Store) -> Image:
    """The one sparse extent in `store`. Raises UnsupportedError for a descriptor, whose extents lie elsewhere."""
    try:
        if store.read(0, 4) != sparse.MAGIC:
            raise UnsupportedError(f"disk {store.name}", "its extents are files of their own", "name it where all its files lie")
        return _single(store, sparse.load(store))
    except BaseException:
        store.close()
        raise


def _single(store: Store, extent: sparse.Sparse) -> Image:
    text = store.read(extent.head.descriptor_at, extent.head.descriptor) if extent.head.descriptor_at else b""
    kind = descriptors.parse(text, store.name).kind if text.strip(b"\0") else ""
    return Concat(store.name, extent.size, [Part(0, extent.size, extent)], {"subformat": kind, **extent.about()})


def open_file(path: Path, *, read_only: bool, trust: Trust) -> Image:
    """The image `path`; its extents are followed as `trust` lets it. Raises a GasangError."""
    store = File.open(path, read_only=read_only)
    try:
        if store.read(0, 4) == sparse.MAGIC:
            return _single(store, sparse.load(store))
        text = store.read(0, min(store.size(), descriptors.LENGTH_MAX))
    except BaseException:
        store.close()
        raise
    store.close()
    return _open_extents(path, descriptors.parse(text, str(path)), read_only=read_only, trust=trust)


def _open_extents(path: Path, described: descriptors.Descriptor, *, read_only: bool, trust: Trust) -> Image:
    parts: list[Part] = []
    begin = 0
    try:
        for extent in described.extents:
            end = begin + extent.sectors * SECTOR
            if end > SIZE_MAX:
                raise BadInputError(f"disk {path}", "its extents are absurdly large", "restore it from a copy")
            parts.append(Part(begin, end, _open_extent(path, extent, read_only=read_only, trust=trust), extent.offset * SECTOR))
            begin = end
        return Concat(str(path), begin, parts, {"subformat": described.kind})
    except BaseException:
        for part in parts:
            part.image.close()
        raise


def _open_extent(path: Path, extent: Extent, *, read_only: bool, trust: Trust) -> Image:
    if extent.kind == "ZERO":
        return _Zeroes(extent.sectors * SECTOR)
    if extent.kind not in _SPARSE + _FLAT:
        raise UnsupportedError(f"disk {path}", f"it has an extent of kind {extent.kind}", "convert it with what made it")
    store = File.open(trust.follow(path, extent.file), read_only=read_only or extent.access != "RW")
    try:
        return RawImage(store) if extent.kind in _FLAT else sparse.load(store)
    except BaseException:
        store.close()
        raise


def make_stream(store: Store, size: int) -> sparse.Sparse:
    """A new streamOptimized image in the empty `store`, which is written once. Raises UsageError for a disk that is too large."""
    size = -(-size // SECTOR) * SECTOR
    if size > (1 << 32) * SECTOR:
        raise UsageError(f"size {size}", "a VMDK file has 2 TiB at most", "take another format")
    kind = "streamOptimized"
    text = descriptors.make(kind, [Extent("RW", size // SECTOR, "SPARSE", store.name)], size // SECTOR)
    return sparse.make_extent(store, size, text, compressed=True)


def create_file(path: Path, size: int, options: Options) -> Image:
    """A new image `path`, and the files of its extents beside it. Raises UsageError for a disk that is too large for one sparse file."""
    size = -(-size // SECTOR) * SECTOR
    kind = options.get("subformat", KINDS[0])
    if kind in ("monolithicSparse", "streamOptimized"):
        if size > (1 << 32) * SECTOR:
            raise UsageError(f"size {size}", "a VMDK file has 2 TiB at most", "take subformat twoGbMaxExtentSparse")
        text = descriptors.make(kind, [Extent("RW", size // SECTOR, "SPARSE", path.name)], size // SECTOR)
        extent = sparse.make_extent(File.made_new(path), size, text, compressed=kind == "streamOptimized")
        if isinstance(extent, sparse.Compressed):
            return extent
        return Concat(str(path), size, [Part(0, size, extent)], {"subformat": kind})
    parts: list[Part] = []
    try:
        return _in_files(path, size, kind, parts)
    except BaseException:
        for part in parts:
            part.image.close()
        for made in files_of(parts):
            made.unlink(missing_ok=True)
        raise


def _in_files(path: Path, size: int, kind: str, parts: list[Part]) -> Image:
    """A new image of a descriptor, and extents that are told in `parts` as they are made."""
    flat = kind.endswith("Flat")
    step = size if kind == "monolithicFlat" else _PART
    extents = []
    for number, begin in enumerate(range(0, size, step), 1):
        end = min(begin + step, size)
        mark = "flat" if kind == "monolithicFlat" else f"{'f' if flat else 's'}{number:03}"
        name = f"{path.stem}-{mark}{path.suffix or '.vmdk'}"

        def fill(store: Store, length: int = end - begin) -> Image:
            if not flat:
                return sparse.make_extent(store, length, b"", compressed=False)
            store.truncate(length)
            return RawImage(store)

        parts.append(Part(begin, end, File.filled(path.with_name(name), fill)))
        extents.append(Extent("RW", (end - begin) // SECTOR, "FLAT" if flat else "SPARSE", name))
    text = descriptors.make(kind, extents, size // SECTOR)

    def describe(store: Store) -> Store:
        store.write(0, text)
        return store

    File.filled(path, describe).close()
    return Concat(str(path), size, parts, {"subformat": kind})


FORMAT = Format(
    "vmdk",
    "VMware's images",
    (".vmdk",),
    probe,
    open_file,
    create_file,
    load,
    (Option("subformat", "one file or several, sparse, flat or compressed", KINDS, KINDS[0]),),
)
