"""Extended attributes: in the inode's spare 96 bytes, or in one block of their own.

Documentation/filesystems/ext4/attributes: a name's prefix is a number; records grow upwards, values downwards from the end; in a block
the records are sorted and hashed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from gasang.core.errors import BadInputError
from gasang.storage.crc32c import crc32c
from gasang.storage.ext4_layout import BLOCK
from gasang.storage.tree import shown

INODE_ROOM = 96
_MAGIC = 0xEA020000
_RECORD = struct.Struct("<BBHIII")
_HEADER = struct.Struct("<IIIII12x")

_PREFIXES = (
    ("system.posix_acl_access", 2),
    ("system.posix_acl_default", 3),
    ("user.", 1),
    ("trusted.", 4),
    ("security.", 6),
    ("system.", 7),
)

_ACL_SHORT = (0x01, 0x04, 0x10, 0x20)
"""Owner, owning group, mask, others: records that name no id."""
_ACL_LONG = (0x02, 0x08)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute as the disk has it."""

    index: int
    name: bytes
    value: bytes

    @property
    def record_size(self) -> int:
        """Bytes of the record, without the value."""
        return _RECORD.size + (len(self.name) + 3 & ~3)

    @property
    def value_size(self) -> int:
        """Bytes the value takes, padding included."""
        return len(self.value) + 3 & ~3


def parse(path: bytes, xattrs: Mapping[str, bytes]) -> list[Attribute]:
    """The attributes in the order a block wants them; raise BadInputError for a name or an amount that does not fit."""
    result = [_attribute(path, name, value) for name, value in xattrs.items()]
    result.sort(key=lambda a: (a.index, len(a.name), a.name))
    if not fits_inode(result) and _size(result) + _HEADER.size > BLOCK:
        raise BadInputError(f"extended attributes of {shown(path)}", "they do not fit one block of 4096 bytes", "drop or shorten some")
    return result


def _attribute(path: bytes, name: str, value: bytes) -> Attribute:
    prefix, index = next(((p, i) for p, i in _PREFIXES if name.startswith(p)), ("", 0))
    rest = name[len(prefix) :].encode("utf-8", "surrogateescape")
    acl = index in (2, 3)
    if not prefix or acl is bool(rest) or len(rest) > 255 or b"\0" in rest:
        raise BadInputError(f"extended attribute {shown(name)} of {shown(path)}", "ext4 has no place for this name", "drop the attribute")
    return Attribute(index, rest, _acl(path, value) if acl else value)


def _acl(path: bytes, value: bytes) -> bytes:
    """A POSIX access list as the disk has it, from the form that system calls and archives use."""
    tags = [tag for tag, _, _ in struct.iter_unpack("<HHI", value[4:])] if len(value) % 8 == 4 else [0]
    if value[:4] != struct.pack("<I", 2) or any(tag not in _ACL_SHORT + _ACL_LONG for tag in tags):
        raise BadInputError(f"access list of {shown(path)}", "it is malformed", "drop the attribute")
    result = struct.pack("<I", 1)
    for tag, rights, who in struct.iter_unpack("<HHI", value[4:]):
        result += struct.pack("<HH", tag, rights) if tag in _ACL_SHORT else struct.pack("<HHI", tag, rights, who)
    return result


def _size(attributes: list[Attribute]) -> int:
    return sum(a.record_size + a.value_size for a in attributes) + 4


def fits_inode(attributes: list[Attribute]) -> bool:
    """Whether all of them fit behind the inode's own fields."""
    return 4 + _size(attributes) <= INODE_ROOM


def in_inode(attributes: list[Attribute]) -> bytes:
    """The 96 bytes behind an inode's fields; offsets of values count from the first record."""
    return struct.pack("<I", _MAGIC) + _lay_out(attributes, INODE_ROOM - 4, 0, hashed=False)


def in_block(attributes: list[Attribute], number: int, seed: int) -> bytes:
    """The attribute block that will be written at block `number`; `seed` is the file system's checksum seed."""
    body = _lay_out(attributes, BLOCK - _HEADER.size, _HEADER.size, hashed=True)
    total = 0
    for attribute in attributes:
        total = (total << 16 ^ total >> 16 ^ _hash(attribute)) & 0xFFFFFFFF
    unsigned = _HEADER.pack(_MAGIC, 1, 1, total, 0) + body
    return _HEADER.pack(_MAGIC, 1, 1, total, crc32c(unsigned, crc32c(struct.pack("<Q", number), seed))) + body


def _lay_out(attributes: list[Attribute], room: int, base: int, *, hashed: bool) -> bytes:
    records, values = b"", b""
    for a in attributes:
        values = a.value.ljust(a.value_size, b"\0") + values
        offset = base + room - len(values) if a.value else 0
        head = _RECORD.pack(len(a.name), a.index, offset, 0, len(a.value), _hash(a) if hashed else 0)
        records += (head + a.name).ljust(a.record_size, b"\0")
    return records + bytes(room - len(records) - len(values)) + values


def _hash(attribute: Attribute) -> int:
    """A record's hash: over the name's bytes, then over the value's padded little-endian words."""
    result = 0
    for byte in attribute.name:
        result = (result << 5 ^ result >> 27 ^ byte) & 0xFFFFFFFF
    padded = attribute.value.ljust(attribute.value_size, b"\0")
    for (word,) in struct.iter_unpack("<I", padded):
        result = (result << 16 ^ result >> 16 ^ word) & 0xFFFFFFFF
    return result
