"""What a file system is made from: entries, each a path and what stands there.

A path is relative to the root, its components parted by "/"; "" and "." are the root itself. Text is encoded as UTF-8 with
surrogate escapes, so that `os.fsdecode`d names come back as they were. Entries come from archives and packages and may be hostile:
`split_path` and `check` are the border, inside it names and numbers are trusted.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gasang.core.errors import BadInputError

NAME_MAX = 255
"""Bytes in one component of a path, on every Unix file system."""

TARGET_MAX = 4095
"""Bytes in a symbolic link's target: Linux' PATH_MAX less the terminating zero."""

MTIME_MIN, MTIME_MAX = -(1 << 31), (1 << 34) - (1 << 31) - 1
"""Seconds that fit an ext4 time stamp: 34 bits, counted from 1901."""


class Kind(enum.Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "fifo"
    SOCKET = "socket"


Source = bytes | Callable[[], BinaryIO]
"""A file's content, or what opens a stream of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object of a tree. `size` counts bytes of `data` where that is a stream; `target` is a link's, `device` (major, minor)."""

    path: bytes | str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    data: Source = b""
    target: bytes | str = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Bytes of content."""
        return len(self.data) if isinstance(self.data, bytes) else self.size


def encode(text: bytes | str) -> bytes:
    """A name as its bytes on disk."""
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def shown(path: bytes | str) -> str:
    """A path as a message shows it: printable, whatever its bytes."""
    text = encode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) or "/"


def split_path(path: bytes | str) -> tuple[bytes, ...]:
    """The components of a checked path, none for the root; raise BadInputError for one that is not relative and normalised."""
    raw = encode(path)
    if raw in (b"", b"."):
        return ()
    parts = tuple(raw.split(b"/"))
    for part in parts:
        if part in (b"", b".", b".."):
            raise BadInputError(f"path {shown(path)}", "it is not relative and normalised", "leave out empty, '.' and '..' components")
        if len(part) > NAME_MAX:
            raise BadInputError(f"path {shown(path)[:80]}…", f"a component has {len(part)} bytes", f"at most {NAME_MAX} fit")
    if b"\0" in raw:
        raise BadInputError(f"path {shown(path)}", "it holds a zero byte", "rename the file")
    return parts


def check(entry: Entry) -> None:
    """Raise BadInputError unless all of the entry's numbers fit a Unix file system's fields."""
    ranges = (
        ("mode", entry.mode, 0, 0o7777),
        ("uid", entry.uid, 0, 0xFFFFFFFF),
        ("gid", entry.gid, 0, 0xFFFFFFFF),
        ("mtime", entry.mtime, MTIME_MIN, MTIME_MAX),
        ("size", entry.length, 0, (1 << 44) - 1),
        ("device major", entry.device[0], 0, 0xFFF),
        ("device minor", entry.device[1], 0, 0xFFFFF),
    )
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise BadInputError(f"entry {shown(entry.path)}", f"{name} {value} is outside {low} to {high}", "repair its archive")
    if entry.kind is Kind.SYMLINK:
        target = encode(entry.target)
        if not 0 < len(target) <= TARGET_MAX or b"\0" in target:
            raise BadInputError(f"symbolic link {shown(entry.path)}", "its target is empty, too long or holds a zero byte", "mend the link")


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}


def read_tree(root: Path) -> Iterator[Entry]:
    """The entries of a directory of the host, parents first, names in order; raise OSError where the host refuses to read."""
    seen: dict[tuple[int, int], bytes] = {}
    pending = [b""]
    top = os.fsencode(root)
    while pending:
        path = pending.pop()
        full = os.path.join(top, path) if path else top
        entry = _host_entry(full, path, seen)
        yield entry
        if entry.kind is Kind.DIRECTORY:
            names = sorted(os.listdir(full), reverse=True)
            pending += [path + b"/" + name if path else name for name in names]


def _host_entry(full: bytes, path: bytes, seen: dict[tuple[int, int], bytes]) -> Entry:
    info = os.lstat(full) if path else os.stat(full)  # the root may be given by a link, such as a descriptor's in /proc
    kind = _KINDS[stat.S_IFMT(info.st_mode)]
    if kind is not Kind.DIRECTORY and info.st_nlink > 1:
        first = seen.setdefault((info.st_dev, info.st_ino), path)
        if first != path:
            return Entry(path=path, kind=Kind.HARDLINK, target=first)
    device = (os.major(info.st_rdev), os.minor(info.st_rdev)) if kind in (Kind.CHARACTER, Kind.BLOCK) else (0, 0)
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime=int(info.st_mtime),
        size=info.st_size if kind is Kind.FILE else 0,
        data=lambda: open(full, "rb", buffering=0),
        target=os.readlink(full) if kind is Kind.SYMLINK else b"",
        device=device,
        xattrs=_host_xattrs(full, kind),
    )


def _host_xattrs(full: bytes, kind: Kind) -> dict[str, bytes]:
    if kind is Kind.SYMLINK or not hasattr(os, "listxattr"):
        return {}
    return {name: os.getxattr(full, name) for name in os.listxattr(full)}
