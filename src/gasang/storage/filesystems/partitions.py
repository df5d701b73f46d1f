"""Partition tables: GPT (UEFI specification 2.10, section 5.3) and those of a PC's master boot record (5.2), extended partitions too."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gasang.core.errors import BadInputError
from gasang.storage.filesystems.window import Window

_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQ")
_RECORD: Final = struct.Struct("<B3xB3xII")
_SIGNATURE: Final = b"EFI PART"
_MOST: Final = 256
_PROTECTIVE: Final = 0xEE
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_SECTORS: Final = (512, 4096)
_ENTRY_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition by its number, from 1 on; 0 is a disk without a table. `start` and `size` in bytes; `uuid` as PARTUUID= names it."""

    number: int
    start: int
    size: int
    uuid: str = ""


def partitions(disk: Window) -> list[Partition]:
    """Those of a disk, by number; the disk itself where it has no table. Raises BadInputError."""
    if disk.size < 2 * _SECTORS[0]:
        return [Partition(0, 0, disk.size)]
    first = disk.read(0, 512)
    records = [_RECORD.unpack_from(first, 446 + 16 * index) for index in range(4)] if first[510:] == b"\x55\xaa" else []
    sector = next((sector for sector in _SECTORS if _is_gpt(disk, sector)), 0)
    if sector:
        return _gpt(disk, sector, sector)
    if any(kind == _PROTECTIVE for _, kind, _, _ in records):
        return _gpt(disk, disk.size // 512 * 512 - 512, 512)  # the copy at its end
    # The first sector of a file system may end as a boot record does: there is no table where nothing in it can be.
    if not any(kind for _, kind, _, _ in records) or any(active & 0x7F for active, _, _, _ in records):
        return [Partition(0, 0, disk.size)]
    return _mbr(disk, records, f"{int.from_bytes(first[440:444], 'little'):08x}")


def _is_gpt(disk: Window, offset: int) -> bool:
    return offset + _HEADER.size <= disk.size and disk.read(offset, 8) == _SIGNATURE


def _gpt(disk: Window, offset: int, sector: int) -> list[Partition]:
    fields = disk.fields(_HEADER, offset)
    length, checksum = fields[2], fields[3]
    if fields[0] != _SIGNATURE or not _HEADER.size <= length <= sector:
        raise disk.damaged("it has no whole table of partitions (GPT)")
    header = bytearray(disk.read(offset, length))
    header[16:20] = bytes(4)
    if zlib.crc32(header) != checksum:
        backup = disk.size // sector * sector - sector
        if offset != backup and _is_gpt(disk, backup):
            return _gpt(disk, backup, sector)
        raise disk.damaged("its table of partitions (GPT) is damaged")
    table, count, size = fields[10] * sector, min(fields[11], _MOST), fields[12]
    if size < 128 or size > _ENTRY_MOST:
        raise disk.damaged("its table of partitions (GPT) has entries of a size that cannot be")
    found = []
    for number in range(1, count + 1):
        kind, own, first, last = disk.fields(_ENTRY, table + (number - 1) * size)
        if any(kind) and last >= first:
            found.append(Partition(number, first * sector, (last - first + 1) * sector, str(UUID(bytes_le=own))))
    return found


def _mbr(disk: Window, records: list[tuple[int, ...]], identity: str) -> list[Partition]:
    found = []
    for number, (_, kind, start, count) in enumerate(records, 1):
        if kind in _EXTENDED:
            found += _logical(disk, start, identity)
        elif kind and count:
            found.append(Partition(number, start * 512, count * 512, f"{identity}-{number:02x}"))
    return sorted(found, key=lambda partition: partition.number)


def _logical(disk: Window, first: int, identity: str) -> list[Partition]:
    """A chain of boot records, each with a partition and the next record."""
    found: list[Partition] = []
    at, number = first, 5
    while number < 5 + _MOST:
        try:
            sector = disk.read(at * 512, 512)
        except BadInputError:
            break  # what comes before is there
        _, kind, start, count = _RECORD.unpack_from(sector, 446)
        _, more, following, _ = _RECORD.unpack_from(sector, 462)
        if sector[510:] != b"\x55\xaa":
            break
        if kind and count:
            found.append(Partition(number, (at + start) * 512, count * 512, f"{identity}-{number:02x}"))
            number += 1
        if more not in _EXTENDED or not following or any(partition.start // 512 > first + following for partition in found):
            break
        at = first + following
    return found
