"""FAT12, FAT16 and FAT32 with long names, read (Microsoft's FAT specification 1.03; UEFI 2.10, section 13.3): EFI system partitions."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import ClassVar, Final

from gasang.storage.filesystems.tree import Node
from gasang.storage.filesystems.window import PIECE, Window
from gasang.storage.tree import Kind

_BPB: Final = struct.Struct("<HBHBHHBHHHII")
_ENTRY: Final = struct.Struct("<11sBB7xH4xHI")
_LONG: Final = struct.Struct("<B10sBBB12sH4s")
_LONG_NAME, _VOLUME, _FOLDER = 0x0F, 0x08, 0x10
_FAT12, _FAT16 = 4085, 65525
"""Fewer clusters than so many, and it is of that kind."""
_FREE, _DELETED = 0x00, 0xE5
_FOLDER_MOST: Final = 2 << 20


class Fat:
    """The file system in a window. Raises BadInputError for one that is damaged. Names have small letters: case does not count."""

    form: ClassVar[str] = "vfat"

    def __init__(self, window: Window) -> None:
        self._window = window
        raw = window.read(0, 512)
        sector, per_cluster, reserved, fats, roots, small, _, short, _, _, _, large = _BPB.unpack_from(raw, 11)
        wide = not short
        length = struct.unpack_from("<I", raw, 36)[0] if wide else short
        if not is_fat(raw) or not length or sector * per_cluster > 1 << 20:
            raise window.damaged("its FAT file system makes no sense")
        self._cluster = sector * per_cluster
        self._roots = ((reserved + fats * length) * sector, roots * 32)
        self._data = self._roots[0] + -(-roots * 32 // sector) * sector
        self._clusters = max(0, (small or large) * sector - self._data) // self._cluster
        self._bits = 12 if self._clusters < _FAT12 else 16 if self._clusters < _FAT16 else 32
        self._table = window.read(reserved * sector, min(length * sector, PIECE))
        serial, label = struct.unpack_from("<I11s", raw, 67 if wide else 39)
        self.uuid = f"{serial >> 16:04X}-{serial & 0xFFFF:04X}"
        self.label = label.decode("ascii", "replace").strip()
        first = struct.unpack_from("<I", raw, 44)[0] if wide else 0
        self._nodes = [Node(Kind.DIRECTORY, -1, 0)]
        self._first = [first]

    @property
    def root(self) -> Node:
        """The root folder."""
        return self._nodes[0]

    def key(self, name: bytes) -> bytes:
        """In small letters."""
        return name.lower()

    def node(self, number: int) -> Node:
        """What a number stands for."""
        return self._nodes[number]

    def entries(self, folder: Node) -> dict[bytes, int]:
        """What is in a folder."""
        found: dict[bytes, int] = {}
        for name, kind, first, size in self._listed(self._folder(folder.number)):
            if name in (b".", b".."):
                continue
            found[name.lower()] = len(self._nodes)
            self._nodes.append(Node(kind, size, len(self._nodes)))
            self._first.append(first)
        return found

    def read(self, node: Node) -> bytes:
        """All of a file."""
        if node.kind is not Kind.FILE:
            return b""
        wanted = -(-node.size // self._cluster)
        data = self._content(self._first[node.number], wanted)
        if len(data) < node.size:
            raise self._window.damaged("a file of its FAT file system is cut off")
        return data[: node.size]

    def _folder(self, number: int) -> bytes:
        if not number and self._bits != 32:
            return self._window.read(*self._roots)
        return self._content(self._first[number], _FOLDER_MOST // self._cluster)

    def _content(self, first: int, most: int) -> bytes:
        """What lies in a chain of clusters, of at most so many."""
        chain = self._chain(first, min(most, self._clusters))
        return b"".join(self._window.read(self._data + (cluster - 2) * self._cluster, self._cluster) for cluster in chain)

    def _chain(self, cluster: int, most: int) -> Iterator[int]:
        for _ in range(most):
            if not 2 <= cluster < self._clusters + 2:
                return
            yield cluster
            cluster = self._next(cluster)

    def _next(self, cluster: int) -> int:
        """What the table says; 0 behind its end."""
        if self._bits == 12:
            pair = int.from_bytes(self._table[cluster * 3 // 2 : cluster * 3 // 2 + 2], "little")
            return pair >> 4 if cluster & 1 else pair & 0xFFF
        width = self._bits // 8
        return int.from_bytes(self._table[cluster * width : cluster * width + width], "little") & 0x0FFF_FFFF

    def _listed(self, data: bytes) -> Iterator[tuple[bytes, Kind, int, int]]:
        """(name, kind, first cluster, size) of each entry; a long name stands before its entry, the last piece first."""
        pieces: list[bytes] = []
        for at in range(0, len(data) - 31, 32):
            short, flags, _, high, low, size = _ENTRY.unpack_from(data, at)
            if short[0] == _FREE:
                return
            if short[0] == _DELETED:
                pieces = []
            elif flags & 0x3F == _LONG_NAME:
                _, one, _, _, _, two, _, three = _LONG.unpack_from(data, at)
                pieces.append(one + two + three)
            else:
                name = _long(pieces) or _short(short)
                pieces = []
                if not flags & _VOLUME:
                    first = low | (high << 16 if self._bits == 32 else 0)
                    yield name, Kind.DIRECTORY if flags & _FOLDER else Kind.FILE, first, size


def is_fat(head: bytes) -> bool:
    """Whether a first sector is that of a FAT file system."""
    sector, per_cluster, reserved, fats, _, small, media, *_, large = _BPB.unpack_from(head, 11)
    return (
        head[510:512] == b"\x55\xaa"
        and sector in (512, 1024, 2048, 4096)
        and per_cluster in (1, 2, 4, 8, 16, 32, 64, 128)
        and reserved > 0
        and fats in (1, 2)
        and bool(small or large)
        and media >= 0xF0
    )


def _long(pieces: list[bytes]) -> bytes:
    text = b"".join(reversed(pieces)).decode("utf-16-le", "replace")
    return text.partition("\0")[0].encode("utf-8", "replace")


def _short(name: bytes) -> bytes:
    stem, suffix = name[:8].rstrip(), name[8:].rstrip()
    return stem + (b"." + suffix if suffix else b"")
