"""What is in a partition: a file system that is read here, or what else it is known by. Two tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError
from gasang.storage.filesystems import ext4
from gasang.storage.filesystems.ext4 import Ext4
from gasang.storage.filesystems.fat import Fat, is_fat
from gasang.storage.filesystems.partitions import Partition, partitions
from gasang.storage.filesystems.tree import Files, FileSystem
from gasang.storage.filesystems.window import Window

_HEAD: Final = 4096
READERS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[Window], FileSystem]], ...]] = (
    (lambda head: head[ext4.MAGIC_AT : ext4.MAGIC_AT + 2] == ext4.MAGIC, Ext4),
    (is_fat, Fat),
)
KNOWN: Final = (
    (3, b"NTFS    ", "NTFS"),
    (3, b"-FVE-FS-", "BitLocker"),
    (0, b"XFSB", "XFS"),
    (0x10040, b"_BHRfS_M", "Btrfs"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (512, b"LABELONE", "LVM"),
    (4086, b"SWAPSPACE2", "swap"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (0x8001, b"CD001", "ISO 9660"),
    (3, b"EXFAT   ", "exFAT"),
    (32, b"NXSB", "APFS"),
)
"""Where, which bytes, and what it is called."""


@dataclass(slots=True)
class Volume:
    """A partition and what is in it: `files` where it is read here, else what it is (`what`, "" where that is not known)."""

    partition: Partition
    files: Files | None
    what: str


def volumes(disk: Window) -> list[Volume]:
    """Those of a disk, one for each partition. A damaged one tells of itself. Raises BadInputError for a damaged table."""
    return [
        _volume(disk.part(each.start, each.size, f"partition {each.number}" if each.number else "all of it"), each)
        for each in partitions(disk)
    ]


def _volume(window: Window, partition: Partition) -> Volume:
    if window.size < _HEAD:
        return Volume(partition, None, "")
    head = window.read(0, _HEAD)
    for offset, magic, what in KNOWN:
        if offset + len(magic) <= window.size and window.read(offset, len(magic)) == magic:
            return Volume(partition, None, what)
    for suits, reader in READERS:
        if suits(head):
            try:
                system = reader(window)
                return Volume(partition, Files(system), system.form)
            except BadInputError as error:
                return Volume(partition, None, f"damaged: {error.cause}")
    return Volume(partition, None, "")
