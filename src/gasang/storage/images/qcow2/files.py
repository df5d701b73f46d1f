"""qcow2 images as files: opening with the chain of backing files, and making new ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gasang.core.errors import StateError, UnsupportedError, UsageError
from gasang.core.protocols import Block
from gasang.core.units import parse_size
from gasang.storage.images.image import Format, Option, Options
from gasang.storage.images.qcow2 import header
from gasang.storage.images.qcow2.disk import Qcow2
from gasang.storage.images.qcow2.header import Header, l1_needed
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store

OPTIONS = (
    Option("compat", "version 3 (1.1) or 2 (0.10)", ("1.1", "0.10"), "1.1"),
    Option("cluster_size", "bytes of a cluster, 512 to 2M", (), "64K"),
    Option("refcount_bits", "bits of a cluster's use count", ("1", "2", "4", "8", "16", "32", "64"), "16"),
    Option("lazy_refcounts", "use counts may be written late", ("off", "on"), "off"),
    Option("extended_l2", "allocate in 32nds of a cluster", ("off", "on"), "off"),
    Option("compression_type", "how compressed clusters are", ("zlib", "zstd"), "zlib"),
    Option("backing_file", "what is read where nothing was written", ()),
    Option("backing_fmt", "its format", ()),
)


def probe(head: bytes, tail: bytes) -> bool:
    """Whether a file begins as qcow2 does."""
    return head.startswith(header.MAGIC)


def load(store: Store, backing: Callable[[Header], Block | None] = lambda head: None) -> Qcow2:
    """The image in `store`, which is closed on an error. A dirty one that is opened for writing is repaired first.

    Raises what `header.parse` raises, and StateError for a corrupt image that is opened for writing.
    """
    below: Block | None = None
    try:
        first = store.read(0, header.HEAD)
        if len(first) > 21 and first[:4] == header.MAGIC and 12 < int.from_bytes(first[20:24], "big") <= 21:
            first = store.read(0, min(1 << int.from_bytes(first[20:24], "big"), 1 << 21))
        head = header.parse(first, store.name, store.size())
        below = backing(head)
        disk = Qcow2(store, head, below)
        if not store.read_only:
            _ready_to_write(disk)
    except BaseException:
        store.close()
        if below is not None:
            below.close()
        raise
    return disk


def _ready_to_write(disk: Qcow2) -> None:
    head = disk.header
    if head.incompatible & header.DIRTY:
        disk.check(repair=True)
    elif head.autoclear:
        head.autoclear = 0  # what those features keep up to date goes stale with the first write
        disk.store_header()


def load_alone(store: Store) -> Qcow2:
    """The image in `store`. Raises as `load` does, UnsupportedError for one with a backing file, which is not followed."""

    def backing(head: Header) -> Block | None:
        if head.backing:
            raise UnsupportedError(f"disk {store.name}", f"it stands on {head.backing!r}", "name it where both files lie")
        return None

    return load(store, backing)


def open_file(path: Path, *, read_only: bool, trust: Trust, corrupt: bool = False) -> Qcow2:
    """The image `path` with its backing files, which are opened for reading. `corrupt`: it is opened to be repaired.

    Raises a GasangError for what is damaged, foreign, hostile or not allowed.
    """

    def backing(head: Header) -> Block | None:
        if not read_only and head.incompatible & header.CORRUPT and not corrupt:
            raise StateError(f"disk {path}", "it is marked as corrupt", f"repair it: gasang image check --repair {path}")
        if not head.backing:
            return None
        from gasang.storage.images.table import open_image

        below = trust.follow(path, head.backing)
        return open_image(below, read_only=True, form=head.backing_format, trust=trust.below(path))

    return load(File.open(path, read_only=read_only, links=trust.links), backing)


def make(store: Store, size: int, options: Options, backing: Block | None = None) -> Qcow2:
    """A new image in the empty `store`. Raises UsageError for options that do not go together, OSError."""
    head = _header(size, options)
    cluster = head.cluster
    l1_clusters = -(-head.l1_size * 8 // cluster)
    per_block = (cluster * 8) >> head.refcount_order
    blocks = 1
    while True:
        table_clusters = -(-blocks * 8 // cluster)
        total = 1 + table_clusters + blocks + l1_clusters
        if total <= blocks * per_block:
            break
        blocks = -(-total // per_block)
    head.table_offset, head.table_clusters = cluster, table_clusters
    first_block = 1 + table_clusters
    head.l1_offset = (first_block + blocks) * cluster if head.l1_size else 0
    table = b"".join(((first_block + index) * cluster).to_bytes(8, "big") for index in range(blocks))
    store.write(0, header.make(head).ljust(cluster, b"\0"))
    store.write(head.table_offset, table.ljust(table_clusters * cluster, b"\0"))
    store.truncate(total * cluster)
    disk = Qcow2(store, head, backing)
    disk.refcounts.set_run(0, total)
    disk.flush()
    return disk


def _header(size: int, options: Options) -> Header:
    cluster = parse_size(options.get("cluster_size", "64K"), "cluster_size")
    bits = cluster.bit_length() - 1
    if not 9 <= bits <= 21 or cluster != 1 << bits:
        raise UsageError("cluster_size", f"{cluster} bytes is no power of two from 512 to 2 MiB", "leave it out for 64 KiB")
    head = Header(3, cluster_bits=bits, size=-(-size // 512) * 512)
    head.refcount_order = int(options.get("refcount_bits", "16")).bit_length() - 1
    head.compression = header.ZSTD if options.get("compression_type") == "zstd" else header.ZLIB
    head.incompatible = (header.COMPRESSION if head.compression else 0) | (header.EXTENDED if options.get("extended_l2") == "on" else 0)
    head.compatible = header.LAZY if options.get("lazy_refcounts") == "on" else 0
    head.backing = options.get("backing_file", "")
    head.backing_format = options.get("backing_fmt", "")
    if options.get("compat") == "0.10":
        head.version = 2
        if head.incompatible or head.compatible or head.refcount_order != 4:
            raise UsageError("compat 0.10", "it has none of the newer features", "leave them out, or take compat 1.1")
    if head.extended and bits < 14:
        raise UsageError("extended_l2", f"clusters of {cluster} bytes are too small", "take cluster_size 16K or more")
    head.l1_size = l1_needed(head.size, head)
    if head.l1_size > header.L1_MAX:
        raise UsageError(f"size {size}", f"it is too large for clusters of {cluster} bytes", "take larger clusters")
    return head


def create_file(path: Path, size: int, options: Options) -> Qcow2:
    """A new image `path`, over its backing file where the options name one. Raises UsageError, BadInputError, OSError."""
    backing: Block | None = None
    name = options.get("backing_file", "")
    if name:
        from gasang.storage.images.table import open_image

        where = (path.parent / name).resolve()
        if not options.get("backing_fmt"):
            raise UsageError("backing_file", "its format is not named, and a guest could choose it", "name it with backing_fmt")
        trust = Trust(also=(where.parent,), chain=(path.resolve(),))
        backing = open_image(where, read_only=True, form=options["backing_fmt"], trust=trust)
    try:
        length = size or (backing.size if backing else 0)
        return File.filled(path, lambda store: make(store, length, options, backing))
    except BaseException:
        if backing is not None:
            backing.close()
        raise


FORMAT = Format("qcow2", "QEMU's copy-on-write images", (".qcow2", ".qcow"), probe, open_file, create_file, load_alone, OPTIONS)
