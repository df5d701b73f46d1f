"""VMDK's descriptor: the text that says which extents a disk has (Virtual Disk Format 5.0, "The Descriptor File")."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from gasang.core.errors import BadInputError, UnsupportedError

TEXT = b"# Disk DescriptorFile"
LENGTH_MAX = 1 << 20
EXTENTS_MAX = 4096
_EXTENT = re.compile(r'(RW|RDONLY|NOACCESS)\s+(\d{1,18})\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+(\d{1,18}))?)?\s*$')
_FIELD = re.compile(r'([A-Za-z0-9_.]+)\s*=\s*"?([^"]*)"?\s*$')
NO_PARENT = "ffffffff"


class Extent(NamedTuple):
    """Some sectors of the disk: in what kind of file, its name, and from which sector of it on."""

    access: str
    sectors: int
    kind: str
    file: str = ""
    offset: int = 0


class Descriptor(NamedTuple):
    """What a descriptor says."""

    kind: str
    extents: tuple[Extent, ...]
    identity: str


def parse(text: bytes, name: str) -> Descriptor:
    """What `text` says. Raises BadInputError for a damaged one, UnsupportedError for a child of another image."""
    damaged = BadInputError(f"disk {name}", "its VMDK descriptor is damaged", "restore it from a copy")
    fields: dict[str, str] = {}
    extents: list[Extent] = []
    for line in text.split(b"\0", 1)[0].decode("utf-8", "surrogateescape").splitlines():
        line = line.strip()
        if found := _EXTENT.match(line):
            access, sectors, kind, file, offset = found.groups()
            extents.append(Extent(access, int(sectors), kind, file or "", int(offset or 0)))
        elif not line.startswith("#") and (field := _FIELD.match(line)):
            fields[field[1].lower()] = field[2]
    if fields.get("parentcid", NO_PARENT).lower() != NO_PARENT:
        raise UnsupportedError(f"disk {name}", "it stands on a parent image", "merge them with what made it")
    if not extents or len(extents) > EXTENTS_MAX or any(not extent.sectors for extent in extents):
        raise damaged
    return Descriptor(fields.get("createtype", ""), tuple(extents), fields.get("cid", ""))


def make(kind: str, extents: list[Extent], sectors: int) -> bytes:
    """The text of a descriptor."""
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        f"CID={_identity():08x}",
        f"parentCID={NO_PARENT}",
        f'createType="{kind}"',
        "",
        "# Extent description",
    ]
    for extent in extents:
        offset = f" {extent.offset}" if extent.kind == "FLAT" else ""
        lines.append(f'{extent.access} {extent.sectors} {extent.kind} "{extent.file}"{offset}')
    lines += [
        "",
        "# The Disk Data Base",
        "#DDB",
        "",
        'ddb.virtualHWVersion = "4"',
        f'ddb.geometry.cylinders = "{min(sectors // 1008, 16383)}"',
        'ddb.geometry.heads = "16"',
        'ddb.geometry.sectors = "63"',
        'ddb.adapterType = "ide"',
        "",
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _identity() -> int:
    """A content's number; the largest two mean none and unknown."""
    return int.from_bytes(os.urandom(4), "big") % 0xFFFFFFFE
