"""Disks as other hypervisors' machines have them, made by hand: partition tables around file systems."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from uuid import UUID

SECTOR = 512
MIB = 1 << 20
_LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le


def gpt(parts: Sequence[bytes]) -> bytes:
    """A disk with a GPT and these partitions, each at a whole MiB; their UUIDs are numbered from 1 on."""
    places, at = [], MIB
    for part in parts:
        places.append(at)
        at += -(-len(part) // MIB) * MIB
    size = at + MIB
    last = size // SECTOR - 1
    entries = b"".join(
        _LINUX + UUID(int=number).bytes_le + struct.pack("<QQQ", place // SECTOR, (place + len(part) - 1) // SECTOR, 0) + bytes(72)
        for number, (place, part) in enumerate(zip(places, parts, strict=True), 1)
    ).ljust(128 * 128, b"\0")

    def header(own: int, other: int, table: int) -> bytes:
        fields = (0x10000, 92, 0, 0, own, other, 34, last - 33, UUID(int=99).bytes_le, table, 128, 128, zlib.crc32(entries))
        raw = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", *fields)
        return (raw[:16] + struct.pack("<I", zlib.crc32(raw)) + raw[20:]).ljust(SECTOR, b"\0")

    disk = bytearray(size)
    disk[446:462] = struct.pack("<B3xB3xII", 0, 0xEE, 1, last)
    disk[510:512] = b"\x55\xaa"
    disk[SECTOR : SECTOR + SECTOR + len(entries)] = header(1, last, 2) + entries
    disk[(last - 32) * SECTOR :] = entries + header(last, 1, last - 32)
    for place, part in zip(places, parts, strict=True):
        disk[place : place + len(part)] = part
    return bytes(disk)


def mbr(records: Sequence[tuple[int, int, int]], size: int) -> bytearray:
    """A disk of `size` bytes with these (kind, first sector, sectors) in its boot record."""
    disk = bytearray(size)
    disk[440:444] = b"\x78\x56\x34\x12"
    put_records(disk, 0, records)
    return disk


def put_records(disk: bytearray, sector: int, records: Sequence[tuple[int, int, int]]) -> None:
    """Partitions in the boot record of a sector."""
    for number, (kind, first, count) in enumerate(records):
        at = sector * SECTOR + 446 + 16 * number
        disk[at : at + 16] = struct.pack("<B3xB3xII", 0, kind, first, count)
    disk[sector * SECTOR + 510 : sector * SECTOR + 512] = b"\x55\xaa"


class FatMaker:
    """A FAT file system with one sector a cluster; folders of one cluster. FAT16 below 65525 clusters, else FAT32."""

    def __init__(self, clusters: int) -> None:
        self.wide = clusters >= 65525
        self._fat = bytearray((clusters + 2) * (4 if self.wide else 2))
        self._fat = self._fat.ljust(-(-len(self._fat) // SECTOR) * SECTOR, b"\0")
        roots = 0 if self.wide else 16
        fat = len(self._fat) // SECTOR
        self._data = (1 + fat) * SECTOR + roots * 32
        total = self._data // SECTOR + clusters
        self.image = bytearray(total * SECTOR)
        self.image[11:36] = struct.pack("<HBHBHHBHHHII", SECTOR, 1, 1, 1, roots, 0, 0xF8, 0 if self.wide else fat, 0, 0, 0, total)
        if self.wide:
            self.image[36:48] = struct.pack("<IHHI", fat, 0, 0, 2)
        at = 67 if self.wide else 39
        self.image[at : at + 15] = struct.pack("<I11s", 0xABCD1234, b"EFI        ")
        self.image[510:512] = b"\x55\xaa"
        self._next = 3 if self.wide else 2
        self._rooms: dict[int, int] = {}
        self.root = 2 if self.wide else 0
        if self.wide:
            self._link(2, 0x0FFFFFFF)

    def _link(self, cluster: int, value: int) -> None:
        width = 4 if self.wide else 2
        self._fat[cluster * width : cluster * width + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")

    def add(self, folder: int, name: str, content: bytes | None) -> int:
        """A file in the folder that begins at a cluster, or with None a folder; the cluster it begins at."""
        count = max(1, -(-len(content or b"") // SECTOR))
        first = self._next
        self._next += count
        for cluster in range(first, first + count):
            self._link(cluster, cluster + 1 if cluster < first + count - 1 else 0x0FFFFFFF)
        at = self._data + (first - 2) * SECTOR
        self.image[at : at + len(content or b"")] = content or b""
        self._enter(folder, name, first, None if content is None else len(content))
        return first

    def _enter(self, folder: int, name: str, first: int, size: int | None) -> None:
        text = name.encode("utf-16-le") + b"\0\0"
        text = text.ljust(-(-len(text) // 26) * 26, b"\xff")
        pieces = [text[at : at + 26] for at in range(0, len(text), 26)]
        entries = b""
        for number, piece in reversed(list(enumerate(pieces, 1))):
            order = number | (0x40 if number == len(pieces) else 0)
            entries += struct.pack("<B10sBBB12sH4s", order, piece[:10], 0x0F, 0, 0, piece[10:22], 0, piece[22:])
        kind = 0x10 if size is None else 0x20
        entries += struct.pack("<11sBB7xH4xHI", b"SHORT~1 BIN", kind, 0, first >> 16, first & 0xFFFF, size or 0)
        base = self._data + (folder - 2) * SECTOR if folder else self._data - 16 * 32
        at = base + self._rooms.get(folder, 0)
        self._rooms[folder] = self._rooms.get(folder, 0) + len(entries)
        self.image[at : at + len(entries)] = entries

    def done(self) -> bytes:
        """The file system."""
        self.image[SECTOR : SECTOR + len(self._fat)] = self._fat
        return bytes(self.image)
