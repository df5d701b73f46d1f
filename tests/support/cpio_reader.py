"""A reader of cpio archives, written from the format's description and from how the kernel goes about it (init/initramfs.c)."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """What a header says, and the data."""

    mode: int
    uid: int
    gid: int
    mtime: int
    device: tuple[int, int]
    data: bytes


def unpack(data: bytes) -> dict[bytes, Record]:
    """The records up to the trailer, of each archive in turn."""
    found: dict[bytes, Record] = {}
    position = 0
    while position < len(data):
        if data[position : position + 4] == bytes(4):
            position += 4
            continue
        assert data[position : position + 6] == b"070701"
        fields = [int(data[position + 6 + 8 * n : position + 14 + 8 * n], 16) for n in range(13)]
        _, mode, uid, gid, _, mtime, size, _, _, major, minor, length, check = fields
        assert check == 0
        name = data[position + 110 : position + 110 + length]
        assert name.endswith(b"\0")
        start = (position + 110 + length + 3) & ~3
        if name != b"TRAILER!!!\0":
            found[name[:-1]] = Record(mode, uid, gid, mtime, (major, minor), data[start : start + size])
        position = (start + size + 3) & ~3
    return found
