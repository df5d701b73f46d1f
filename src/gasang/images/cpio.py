"""cpio archives in the "newc" format, as the kernel unpacks them (Documentation/driver-api/early-userspace/buffer-format).

Pure functions from entries to bytes. An archive may be appended to another one: the kernel unpacks them in turn, a later file replaces
an earlier one of the same name. Each archive made here is a multiple of 512 bytes long, so that any number of them can be joined.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable

from gasang.core.errors import BadInputError
from gasang.storage.tree import Entry, Kind, check, encode, shown, split_path

MAGIC = b"070701"
TRAILER = b"TRAILER!!!"
BLOCK = 512
SIZE_MAX = 0xFFFFFFFF

_FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}


def archive(entries: Iterable[Entry]) -> bytes:
    """One archive of the entries, parents first; raise BadInputError for what the format cannot hold (hard links, 4 GiB files)."""
    parts: list[bytes] = []
    for number, entry in enumerate(entries, start=1):
        parts += _member(entry, number)
    parts += _record(TRAILER, b"", (0, 0, 0, 0, 1, 0, 0, 0, 0, 0))
    data = b"".join(parts)
    return data + bytes(-len(data) % BLOCK)


def _member(entry: Entry, number: int) -> list[bytes]:
    if entry.kind not in _FORMATS:
        raise BadInputError(f"entry {shown(entry.path)}", f"a {entry.kind.value} has no place in this archive", "store it as a file")
    check(entry)
    name = b"/".join(split_path(entry.path)) or b"."
    data = _content(entry)
    if len(data) > SIZE_MAX:
        raise BadInputError(f"entry {shown(entry.path)}", "it is larger than 4 GiB, more than a cpio archive holds", "put it on a disk")
    mode = _FORMATS[entry.kind] | entry.mode
    links = 2 if entry.kind is Kind.DIRECTORY else 1
    mtime = min(max(entry.mtime, 0), SIZE_MAX)
    return _record(name, data, (number, mode, entry.uid, entry.gid, links, mtime, 0, 0, *entry.device))


def _content(entry: Entry) -> bytes:
    if entry.kind is Kind.SYMLINK:
        return encode(entry.target)
    if entry.kind is not Kind.FILE:
        return b""
    if isinstance(entry.data, bytes):
        return entry.data
    with entry.data() as stream:
        return stream.read()


def _record(name: bytes, data: bytes, numbers: tuple[int, ...]) -> list[bytes]:
    """Header, name and data, each padded to four bytes. `numbers`: inode, mode, uid, gid, links, mtime, then four device numbers."""
    inode, mode, uid, gid, links, mtime, major, minor, rmajor, rminor = numbers
    fields = (inode, mode, uid, gid, links, mtime, len(data), major, minor, rmajor, rminor, len(name) + 1, 0)
    header = MAGIC + b"".join(b"%08x" % value for value in fields) + name + b"\0"
    return [header, bytes(-len(header) % 4), data, bytes(-len(data) % 4)]
