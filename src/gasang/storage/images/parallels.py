"""Parallels' images: an .hds or .hdd file with a table of clusters (docs/interop/parallels), and a .hdd folder with its description.

A folder's DiskDescriptor.xml says which file has which sectors (docs/interop/prl-xml). Of several snapshots the top one is read.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any, NamedTuple

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.storage.images import parallels_description as description
from gasang.storage.images.blocks import ABSENT, Blocks
from gasang.storage.images.concat import Concat, Part
from gasang.storage.images.identities import as_text, new_identity
from gasang.storage.images.image import SECTOR, SIZE_MAX, Format, Image, Option, Options
from gasang.storage.images.raw import RawImage
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store
from gasang.storage.images.tables import Table, at

OLD, NEW = b"WithoutFreeSpace", b"WithouFreSpacExt"
_HEAD = struct.Struct("<16sIIIIIQIIIQ")
_IN_USE = 0x746F6E59
_CLUSTER = 1 << 20
_ENTRIES_MAX = 1 << 28
DESCRIPTOR = "DiskDescriptor.xml"


class Header(NamedTuple):
    """What the header says. `unit` is what the table's entries count, in bytes."""

    cluster: int
    entries: int
    size: int
    data: int
    unit: int
    in_use: bool
    cylinders: int
    flags: int = 0
    extension: int = 0


def parse(data: bytes, name: str) -> Header:
    """The header of an image. Raises BadInputError for a damaged one, UnsupportedError for another version."""
    subject = f"disk {name}"
    if len(data) < _HEAD.size or data[:16] not in (OLD, NEW):
        raise BadInputError(subject, "it is no Parallels image", "name a Parallels image")
    magic, version, _, cylinders, tracks, entries, sectors, in_use, data_at, flags, extension = _HEAD.unpack_from(data)
    if version != 2:
        raise UnsupportedError(subject, f"it is a Parallels image of version {version}", "convert it with what made it")
    if magic == OLD:
        sectors &= 0xFFFFFFFF
    cluster = tracks * SECTOR
    table_end = 64 + entries * 4
    first = data_at * SECTOR or -(-table_end // SECTOR) * SECTOR
    fault = not tracks or cluster > 1 << 30 or entries > _ENTRIES_MAX or not 0 < sectors <= SIZE_MAX // SECTOR or first < table_end
    if fault or entries < -(-sectors // tracks):
        raise BadInputError(subject, "its Parallels header is damaged", "restore it from a copy")
    return Header(
        cluster, entries, sectors * SECTOR, first, cluster if magic == NEW else SECTOR, in_use == _IN_USE, cylinders, flags, extension
    )


def make(head: Header, *, in_use: bool) -> bytes:
    """The bytes of a header."""
    magic = NEW if head.unit == head.cluster else OLD
    fields = (magic, 2, 16, head.cylinders, head.cluster // SECTOR, head.entries, head.size // SECTOR, _IN_USE if in_use else 0)
    return _HEAD.pack(*fields, head.data // SECTOR, head.flags & ~1, 0)


class Parallels(Blocks):
    """An open image file."""

    def __init__(self, store: Store, head: Header) -> None:
        super().__init__(store, head.size, head.cluster, Table(store, "I", "little", head.entries, at(64, 4)))
        self.header = head
        self._next = head.data + max(0, -(-(store.size() - head.data) // head.cluster)) * head.cluster
        if head.unit == head.cluster:
            self._next = -(-self._next // head.cluster) * head.cluster

    def decode(self, entry: int) -> int:
        """Entries count clusters or sectors from the file's begin; zero is none."""
        return entry * self.header.unit if entry else ABSENT

    def encode(self, place: int) -> int:
        """As `decode` has it."""
        return 0 if place == ABSENT else place // self.header.unit

    def allot(self, most: int) -> tuple[int, int]:
        """At the file's end."""
        place = self._next
        self._next += most * self.block
        if self._next // self.header.unit > 0xFFFFFFFF:
            raise UnsupportedError(f"disk {self.store.name}", "it cannot become larger", "convert it to another format")
        return place, most

    def begin(self) -> None:
        """The header says that the image is being written."""
        self.store.write(0, make(self.header, in_use=True))

    def end(self) -> None:
        """The header says that all is well."""
        self.store.write(0, make(self.header, in_use=False))

    def fits(self, place: int) -> bool:
        """Whether a cluster may begin at `place`."""
        return place >= self.header.data

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"subformat": "expanding", "block_size": self.block, "in_use": self.header.in_use}


def load(store: Store) -> Parallels:
    """The image in `store`, which is closed on an error. Raises what `parse` raises."""
    try:
        head = parse(store.read(0, 64), store.name)
        if 64 + head.entries * 4 > store.size():
            raise BadInputError(f"disk {store.name}", "its table lies outside the file", "restore it from a copy")
        return Parallels(store, head)
    except BaseException:
        store.close()
        raise


def probe(head: bytes, tail: bytes) -> bool:
    """Whether a file begins as Parallels' do, or describes a disk of theirs."""
    return head.startswith((OLD, NEW)) or b"<Parallels_disk_image" in head[:512]


def open_file(path: Path, *, read_only: bool, trust: Trust) -> Image:
    """The image `path`: a file, a folder or its description. Raises a GasangError."""
    described = path / DESCRIPTOR if path.is_dir() else path
    store = File.open(described, read_only=read_only)
    if b"<Parallels_disk_image" not in store.read(0, 512):
        return load(store)
    text = store.read(0, min(store.size(), 1 << 20))
    store.close()
    return _open_described(described, description.parse(text, str(path)), read_only=read_only, trust=trust)


def _open_described(path: Path, described: description.Described, *, read_only: bool, trust: Trust) -> Image:
    parts: list[Part] = []
    try:
        for begin, end, kind, name in described.parts:
            where = trust.follow(path, name)
            store = File.open(where, read_only=read_only)
            image: Image = RawImage(store) if kind == "Plain" else load(store)
            parts.append(Part(begin * SECTOR, min(end * SECTOR, described.size), image))
        return Concat(str(path), described.size, parts, {"subformat": "described"})
    except BaseException:
        for part in parts:
            part.image.close()
        raise


def make_image(store: Store, size: int, options: Options) -> Parallels:
    """A new image in the empty `store`. Raises UsageError for a disk that is too large."""
    size = -(-size // SECTOR) * SECTOR
    entries = -(-size // _CLUSTER)
    if entries > _ENTRIES_MAX:
        raise UsageError(f"size {size}", "it is too large for Parallels", "take another format")
    data = -(-(64 + entries * 4) // _CLUSTER) * _CLUSTER
    head = Header(_CLUSTER, entries, size, data, _CLUSTER, False, min(size // SECTOR // (16 * 63), 16383))
    store.write(0, make(head, in_use=False))
    store.truncate(data)
    return Parallels(store, head)


_XML = """<?xml version='1.0' encoding='UTF-8'?>
<Parallels_disk_image Version="1.0">
  <Disk_Parameters>
    <Disk_size>{sectors}</Disk_size>
    <Cylinders>{cylinders}</Cylinders>
    <PhysicalSectorSize>512</PhysicalSectorSize>
    <Heads>16</Heads>
    <Sectors>63</Sectors>
    <Padding>0</Padding>
    <Encryption><Engine>{{00000000-0000-0000-0000-000000000000}}</Engine><Data></Data></Encryption>
    <UID>{{{identity}}}</UID>
    <Name>{name}</Name>
    <Miscellaneous><CompatLevel>level2</CompatLevel><Bootable>1</Bootable><SuspendState>0</SuspendState></Miscellaneous>
  </Disk_Parameters>
  <StorageData>
    <Storage>
      <Start>0</Start>
      <End>{sectors}</End>
      <Blocksize>2048</Blocksize>
      <Image><GUID>{{5fbaabe3-6958-40ff-92a7-860e329aab41}}</GUID><Type>Compressed</Type><File>{file}</File></Image>
    </Storage>
  </StorageData>
  <Snapshots>
    <Shot><GUID>{{5fbaabe3-6958-40ff-92a7-860e329aab41}}</GUID><ParentGUID>{{00000000-0000-0000-0000-000000000000}}</ParentGUID></Shot>
  </Snapshots>
</Parallels_disk_image>
"""


def create_file(path: Path, size: int, options: Options) -> Image:
    """A new image `path`; with layout=folder a folder, in it the file and its description."""
    if options.get("layout") != "folder":
        return File.filled(path, lambda store: make_image(store, size, options))
    path.mkdir()
    inner = "disk.hds"
    sectors = -(-size // SECTOR)
    text = _XML.format(sectors=sectors, cylinders=sectors // 1008, identity=as_text(new_identity()), name="disk", file=inner)
    try:
        (path / DESCRIPTOR).write_text(text)
        image = File.filled(path / inner, lambda store: make_image(store, size, options))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Concat(str(path), image.size, [Part(0, image.size, image)], {"subformat": "described"})


FORMAT = Format(
    "parallels",
    "Parallels' images",
    (".hdd", ".hds"),
    probe,
    open_file,
    create_file,
    load,
    (Option("layout", "one file, or a folder with its description", ("file", "folder"), "file"),),
)
