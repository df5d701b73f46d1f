"""The header of a qcow2 image, versions 2 and 3, as a value and as bytes (docs/interop/qcow2.txt, "Header" and "Header extensions")."""

from __future__ import annotations

import struct

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.storage.images.image import SIZE_MAX

MAGIC = b"QFI\xfb"
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_SNAPSHOTS_AT, _TABLE_AT = 60, 48
HEAD = 1 << 12
"""Bytes of a file's begin that are looked at for a header first."""

DIRTY, CORRUPT, EXTERNAL, COMPRESSION, EXTENDED = 1, 2, 4, 8, 16
"""Incompatible features."""
LAZY = 1
"""Compatible features: refcounts may be written late."""
BITMAPS = 1
"""Autoclear features: the bitmaps extension is up to date."""
ZLIB, ZSTD = 0, 1

_END, _BACKING_FORMAT, _BITMAPS, _CRYPTO = 0, 0xE2792ACA, 0x23852875, 0x0537BE77
L1_MAX = (32 << 20) // 8
"""Entries of a level 1 table, as in every implementation."""
TABLE_MAX = 8 << 20
"""Bytes of a refcount table, as above."""
SNAPSHOTS_MAX = 65536
NAME_MAX = 1023


class Header:
    """What the header says. Offsets are bytes of the file."""

    def __init__(
        self,
        version: int = 3,
        cluster_bits: int = 16,
        size: int = 0,
        l1_size: int = 0,
        l1_offset: int = 0,
        table_offset: int = 0,
        table_clusters: int = 0,
        snapshots: int = 0,
        snapshots_offset: int = 0,
    ) -> None:
        self.version = version
        self.backing = self.backing_format = ""
        self.cluster_bits = cluster_bits
        self.size = size
        self.l1_size = l1_size
        self.l1_offset = l1_offset
        self.table_offset = table_offset
        self.table_clusters = table_clusters
        self.snapshots = snapshots
        self.snapshots_offset = snapshots_offset
        self.incompatible = self.compatible = self.autoclear = 0
        self.refcount_order = 4
        self.compression = ZLIB
        self.bitmaps = b""
        self.extensions: list[tuple[int, bytes]] = []
        """Those that are kept as they are, the backing file's format and the bitmaps apart."""

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def extended(self) -> bool:
        """Whether level 2 entries have 32 subclusters each."""
        return bool(self.incompatible & EXTENDED)

    @property
    def l2_entries(self) -> int:
        """Clusters that a level 2 table speaks of."""
        return self.cluster // (16 if self.extended else 8)


def l1_needed(size: int, header: Header) -> int:
    """Entries of a level 1 table for a disk of `size` bytes."""
    return -(-size // (header.cluster * header.l2_entries))


def parse(data: bytes, name: str, file_size: int) -> Header:
    """The header that `data` begins with: the first cluster of the file, or as much as HEAD of it.

    Raises BadInputError for one that is damaged or absurd, UnsupportedError for what is not built.
    """
    subject = f"disk {name}"

    def damaged(cause: str) -> BadInputError:
        return BadInputError(subject, f"its qcow2 header is damaged: {cause}", "restore it from a copy")

    if len(data) < 104 or data[:4] != MAGIC:
        raise damaged("it is too short or of another format")
    (_, version, backing_at, backing_length, bits, size, crypt, l1_size, l1_at, table_at, clusters, count, snapshots_at) = _V2.unpack_from(
        data
    )
    if version not in (2, 3):
        raise UnsupportedError(subject, f"it is qcow2 version {version}", "convert it to version 3")
    if crypt:
        raise UnsupportedError(subject, "it is encrypted", "decrypt it with what made it")
    header = Header(version, bits, size, l1_size, l1_at, table_at, clusters, count, snapshots_at)
    length = 72
    if version == 3:
        header.incompatible, header.compatible, header.autoclear, header.refcount_order, length = _V3.unpack_from(data, 72)
        if header.incompatible & COMPRESSION and length > 104 and len(data) > 104:
            header.compression = data[104]
    if not 9 <= bits <= 21:
        raise damaged(f"clusters of 2^{bits} bytes")
    if header.incompatible & ~(DIRTY | CORRUPT | COMPRESSION | EXTENDED):
        what = "an external data file" if header.incompatible & EXTERNAL else f"features {header.incompatible:#x}"
        raise UnsupportedError(subject, f"it uses {what}", "convert it with what made it")
    _check(header, length, damaged)
    for at, what, span in (
        (l1_at, "level 1 table", l1_size * 8),
        (table_at, "refcount table", clusters << bits),
        (snapshots_at if count else 0, "snapshot table", 1),
    ):
        if at % header.cluster or at + span > max(file_size + header.cluster, 1) or (span and not at and what != "snapshot table"):
            raise damaged(f"its {what} lies outside the file")
    _read_extensions(header, data, length, backing_at, damaged)
    if backing_at:
        if not 0 < backing_length <= NAME_MAX or backing_at + backing_length > min(header.cluster, len(data)):
            raise damaged("the name of its backing file is nowhere")
        header.backing = data[backing_at : backing_at + backing_length].decode("utf-8", "surrogateescape")
    return header


def _check(header: Header, length: int, damaged: object) -> None:
    assert callable(damaged)
    faults = (
        (header.size > SIZE_MAX, f"a disk of {header.size} bytes"),
        (header.refcount_order > 6, f"refcounts of 2^{header.refcount_order} bits"),
        (header.l1_size > L1_MAX, f"{header.l1_size} entries of level 1"),
        (header.l1_size < l1_needed(header.size, header), "its level 1 table is too small for the disk"),
        (header.table_clusters << header.cluster_bits > TABLE_MAX, f"a refcount table of {header.table_clusters} clusters"),
        (header.snapshots > SNAPSHOTS_MAX, f"{header.snapshots} snapshots"),
        (header.version == 3 and (length < 104 or length > header.cluster or length % 8), f"a header of {length} bytes"),
        (header.compression > ZSTD, f"compression {header.compression}"),
        (header.extended and header.cluster_bits < 14, "subclusters of less than a sector"),
    )
    for fault, cause in faults:
        if fault:
            raise damaged(cause)


def _read_extensions(header: Header, data: bytes, at: int, end: int, damaged: object) -> None:
    assert callable(damaged)
    last = min(end or header.cluster, header.cluster, len(data))
    while at + 8 <= last:
        kind, length = struct.unpack_from(">II", data, at)
        at += 8
        if kind == _END:
            return
        if length > last - at:
            raise damaged("a header extension is longer than the header")
        body = data[at : at + length]
        if kind == _BACKING_FORMAT:
            header.backing_format = body.decode("utf-8", "backslashreplace")
        elif kind == _CRYPTO:
            raise damaged("it has an encryption header but no encryption")
        elif kind == _BITMAPS:
            header.bitmaps = body
        else:
            header.extensions.append((kind, body))
        at += -(-length // 8) * 8


def make(header: Header) -> bytes:
    """The bytes of a header, extensions and the backing file's name behind it. Raises BadInputError where they do not fit a cluster."""
    length = 72 if header.version == 2 else 112 if header.incompatible & COMPRESSION else 104
    extensions = [(_BACKING_FORMAT, header.backing_format.encode())] if header.backing_format else []
    extensions += [(_BITMAPS, header.bitmaps)] if header.bitmaps else []
    extensions += header.extensions
    tail = b"".join(struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8) for kind, body in extensions) + bytes(8)
    name = header.backing.encode("utf-8", "surrogateescape")
    at = length + len(tail) if name else 0
    if length + len(tail) + len(name) > header.cluster or len(name) > NAME_MAX:
        raise BadInputError("qcow2 header", "the name of the backing file is too long", "use a shorter path or larger clusters")
    fixed = _V2.pack(
        MAGIC,
        header.version,
        at,
        len(name),
        header.cluster_bits,
        header.size,
        0,
        header.l1_size,
        header.l1_offset,
        header.table_offset,
        header.table_clusters,
        header.snapshots,
        header.snapshots_offset,
    )
    if header.version == 3:
        fixed += _V3.pack(header.incompatible, header.compatible, header.autoclear, header.refcount_order, length)
        if length > 104:
            fixed += bytes((header.compression,)) + bytes(7)
    return fixed + tail + name
