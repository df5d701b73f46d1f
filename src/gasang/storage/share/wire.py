"""Messages of the FUSE protocol, version 7 (Linux: include/uapi/linux/fuse.h), and the one reader of what a guest sent.

All numbers are little-endian here: every guest is.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple

MAJOR: Final = 7
MINOR: Final = 31
OLDEST_MINOR: Final = 27
"""Linux 4.18; guests with virtio-fs have 7.31 and newer."""
LONGEST_NAME: Final = 255
LONGEST_PATH: Final = 4095

IN: Final = struct.Struct("<IIQQIIIHxx")
OUT: Final = struct.Struct("<IiQ")
ATTRIBUTES: Final = struct.Struct("<QQQQQQIIIIIIIIII")
ENTRY: Final = struct.Struct("<QQQQII")
VALID: Final = struct.Struct("<QII")
OPENED: Final = struct.Struct("<QII")
INIT_IN: Final = struct.Struct("<IIII")
INIT_OUT: Final = struct.Struct("<IIIIHHIIHH32x")
STATFS: Final = struct.Struct("<QQQQQIIII24x")
DIRENT: Final = struct.Struct("<QQII")
HOST_DIRENT: Final = struct.Struct("<QqHB")
"""The head of a record of getdents64(2)."""

GETATTR_IN: Final = struct.Struct("<IIQ")
SETATTR_IN: Final = struct.Struct("<IIQQQQQQIIIIIIII")
MKNOD_IN: Final = struct.Struct("<IIII")
MKDIR_IN: Final = struct.Struct("<II")
RENAME_IN: Final = struct.Struct("<Q")
RENAME2_IN: Final = struct.Struct("<QII")
LINK_IN: Final = struct.Struct("<Q")
OPEN_IN: Final = struct.Struct("<II")
CREATE_IN: Final = struct.Struct("<IIII")
RELEASE_IN: Final = struct.Struct("<QIIQ")
READ_IN: Final = struct.Struct("<QQIIQII")
FSYNC_IN: Final = struct.Struct("<QII")
FORGET_IN: Final = struct.Struct("<Q")
BATCH_FORGET_IN: Final = struct.Struct("<II")
FORGET_ONE: Final = struct.Struct("<QQ")
FALLOCATE_IN: Final = struct.Struct("<QQQII")
LSEEK_IN: Final = struct.Struct("<QQII")
LSEEK_OUT: Final = struct.Struct("<Q")
WRITE_OUT: Final = struct.Struct("<II")


class Opcode(IntEnum):
    """What a message asks for; others there are, which are answered with ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45
    LSEEK = 46


class Refusal(Exception):
    """An answer that is nothing but an error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Header(NamedTuple):
    """Of every message: its length, what it asks for, by which number it is answered, of which node, and for whom."""

    length: int
    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    extensions: int


class Reader:
    """A message's body, read from its start; whatever is not as it should be is refused with EINVAL."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The numbers of a structure."""
        if len(self._data) < layout.size:
            raise Refusal(errno.EINVAL)
        values = layout.unpack_from(self._data)
        self._data = self._data[layout.size :]
        return values

    def text(self, longest: int) -> str:
        """A string up to its zero byte."""
        head = bytes(self._data[: longest + 1])
        end = head.find(b"\0")
        if end < 0:
            raise Refusal(errno.ENAMETOOLONG if len(self._data) > longest else errno.EINVAL)
        self._data = self._data[end + 1 :]
        return head[:end].decode("utf-8", "surrogateescape")

    def name(self) -> str:
        """A directory entry's name: not empty, one step, and neither "." nor ".."."""
        name = self.text(LONGEST_NAME)
        if not name or "/" in name or name in (".", ".."):
            raise Refusal(errno.EINVAL)
        return name

    def bytes(self, length: int) -> memoryview:
        """So many bytes."""
        if len(self._data) < length:
            raise Refusal(errno.EINVAL)
        taken, self._data = self._data[:length], self._data[length:]
        return taken


def position(number: int) -> int:
    """An offset or size in a file that the host's calls can be given; EFBIG is refused."""
    if number >= 1 << 63:
        raise Refusal(errno.EFBIG)
    return number


def attributes(status: os.stat_result, device: int = 0) -> bytes:
    """The structure fuse_attr. `device` tells apart what has the same inode number on several file systems of the host."""
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    whole = [time // 10**9 & 0xFFFF_FFFF_FFFF_FFFF for time in times]
    rest = [time % 10**9 for time in times]
    return ATTRIBUTES.pack(
        status.st_ino ^ device << 48, status.st_size, status.st_blocks, *whole, *rest, status.st_mode,
        min(status.st_nlink, 0xFFFF_FFFF), status.st_uid, status.st_gid, status.st_rdev & 0xFFFF_FFFF, status.st_blksize, 0,
    )  # fmt: skip


def answer(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    """A whole answer."""
    return OUT.pack(OUT.size + len(body), -error, unique) + body


def directory_entries(records: bytes, room: int) -> tuple[bytes, int | None]:
    """Records of getdents64(2) as fuse_dirent, as many as have room, and the position behind the last of them (None: there is none)."""
    made, last, at = bytearray(), None, 0
    while at + HOST_DIRENT.size < len(records):
        inode, behind, length, kind = HOST_DIRENT.unpack_from(records, at)
        name = records[at + HOST_DIRENT.size : at + length].split(b"\0", 1)[0]
        entry = DIRENT.pack(inode, behind & 0xFFFF_FFFF_FFFF_FFFF, len(name), kind) + name
        entry += bytes(-len(entry) % 8)
        if len(made) + len(entry) > room:
            break
        made += entry
        last, at = behind, at + length
    return bytes(made), last


def harmless_mode(mode: int, kind: int) -> int:
    """Permission bits a guest may give: none that lend a program's starter on the host its owner's rights."""
    return mode & (0o3777 if stat.S_ISDIR(kind) else 0o1777)
