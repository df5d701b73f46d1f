"""A directory as a tar archive: a container's file system as it is, or what its upper directory has changed (as a layer).

The tree may be changing, and may belong to somebody hostile: it is walked by descriptors and never through a symbolic link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from gasang.core.errors import UnsupportedError
from gasang.images.layers.overlay import OPAQUE_NAME, WHITEOUT
from gasang.images.layers.pax import KEPT_XATTRS, OVERLAY_XATTRS
from gasang.images.layers.write import BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, HARD_LINK, SYMBOLIC_LINK, Entry, TarWriter

_KINDS = {
    stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: SYMBOLIC_LINK, stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}  # fmt: skip
"""What an archive can hold; sockets are left out, as everywhere."""
_PIECE = 1 << 18
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NOTES = ("trusted.overlay.", "user.overlay.")


def write_tree(root: Path, writer: TarWriter) -> None:
    """Everything below `root`, itself not. Raises OSError as the host does."""
    _Walk(writer, changes=False).run(root)


def write_changes(upper: Path, writer: TarWriter) -> None:
    """What an overlay's upper directory changes, in the form layers have.

    Raises UnsupportedError for an overlay mounted with redirect_dir or metacopy, whose upper directory does not say it all.
    """
    _Walk(writer, changes=True).run(upper)


class _Walk:
    def __init__(self, writer: TarWriter, *, changes: bool) -> None:
        self._writer = writer
        self._changes = changes
        self._seen: dict[tuple[int, int], bytes] = {}

    def run(self, root: Path) -> None:
        descriptor = os.open(root, _OPEN | os.O_DIRECTORY)
        try:
            self._folder(descriptor, b"")
        finally:
            os.close(descriptor)

    def _folder(self, descriptor: int, path: bytes) -> None:
        for name in sorted(os.listdir(descriptor)):
            self._entry(descriptor, os.fsencode(name), path)

    def _entry(self, parent: int, name: bytes, path: bytes) -> None:
        try:
            facts = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        xattrs = _xattrs(parent, name)
        if self._changes and _is_whiteout(facts, xattrs):
            self._writer.add(Entry(path + WHITEOUT + name, mode=0, mtime=int(facts.st_mtime)))
            return
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
        if kind is None:
            return
        entry = Entry(
            path + name, kind, stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_size, int(facts.st_mtime),
            xattrs={key: value for key, value in xattrs.items() if key.startswith(KEPT_XATTRS) and not key.startswith(OVERLAY_XATTRS)},
        )  # fmt: skip
        self._put(entry, parent, name, facts, xattrs)

    def _put(self, entry: Entry, parent: int, name: bytes, facts: os.stat_result, xattrs: dict[str, bytes]) -> None:
        key = (facts.st_dev, facts.st_ino)
        if entry.kind != FOLDER and facts.st_nlink > 1 and key in self._seen:
            entry.kind, entry.link, entry.xattrs = HARD_LINK, self._seen[key], {}
            self._writer.add(entry)
            return
        self._seen[key] = entry.name
        if entry.kind == FOLDER:
            self._put_folder(entry, parent, name, xattrs)
        elif entry.kind == FILE:
            self._put_file(entry, parent, name)
        else:
            if entry.kind == SYMBOLIC_LINK:
                entry.link = os.readlink(name, dir_fd=parent)
            elif entry.kind != FIFO:
                entry.device = (os.major(facts.st_rdev), os.minor(facts.st_rdev))
            self._writer.add(entry)

    def _put_folder(self, entry: Entry, parent: int, name: bytes, xattrs: dict[str, bytes]) -> None:
        self._writer.add(entry)
        if self._changes:
            for note in _NOTES:
                if f"{note}redirect" in xattrs:
                    shown = os.fsdecode(entry.name)
                    raise UnsupportedError(f"directory {shown}", "it was renamed by an overlay", "mount with redirect_dir=off")
                if xattrs.get(f"{note}opaque") == b"y":
                    self._writer.add(Entry(entry.name + b"/" + OPAQUE_NAME, mode=0, mtime=entry.mtime))
        descriptor = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=parent)
        try:
            self._folder(descriptor, entry.name + b"/")
        finally:
            os.close(descriptor)

    def _put_file(self, entry: Entry, parent: int, name: bytes) -> None:
        descriptor = os.open(name, _OPEN, dir_fd=parent)
        try:
            self._writer.add(entry, _content(descriptor))
        finally:
            os.close(descriptor)


def _content(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, _PIECE):
        yield piece


def _xattrs(parent: int, name: bytes) -> dict[str, bytes]:
    place = f"/proc/self/fd/{parent}/".encode() + name
    try:
        return {key: os.getxattr(place, key, follow_symlinks=False) for key in os.listxattr(place, follow_symlinks=False)}
    except OSError:
        return {}


def _is_whiteout(facts: os.stat_result, xattrs: Iterable[str]) -> bool:
    if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
        return True
    return stat.S_ISREG(facts.st_mode) and facts.st_size == 0 and any(f"{note}whiteout" in xattrs for note in _NOTES)
