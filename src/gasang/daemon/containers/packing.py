"""Trees of files into tar archives, by descriptors only: nobody can put a link in the way.

What runs may change the tree meanwhile: a file that goes is left out, one that shrinks is filled up with zeros.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import BinaryIO, Final, Protocol

BLOCK: Final = 1 << 20


class Owners(Protocol):
    """Knows the numbers of users inside a container."""

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """The container's numbers of a user and a group of the host."""
        ...


class Packer:
    """Adds trees to a tar archive, by descriptors only: nobody can put a link in the way."""

    def __init__(self, archive: tarfile.TarFile, users: Owners | None = None) -> None:
        """`users` tells how a container calls the owners of files."""
        self._archive = archive
        self._users = users
        self._seen: dict[tuple[int, int], str] = {}

    def add(self, place: int, name: str, *, deep: bool = True) -> None:
        """Add what the path descriptor `place` is, and all below it if `deep`."""
        found = os.fstat(place)
        entry = self._entry(place, name, found)
        if entry is None:
            return
        if not entry.isreg():
            self._archive.addfile(entry)
        else:
            with open(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                self._archive.addfile(entry, _Filled(file))
        if entry.isdir() and deep:
            self._add_children(place, name)

    def _add_children(self, place: int, name: str) -> None:
        folder = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.add_all(folder, f"{name.rstrip('/')}/")
        finally:
            os.close(folder)

    def add_all(self, folder: int, prefix: str) -> None:
        """Add what is in a folder, each name after `prefix`."""
        for child in sorted(os.listdir(folder)):
            try:
                inner = os.open(child, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                continue
            try:
                self.add(inner, f"{prefix}{child}")
            finally:
                os.close(inner)

    def _entry(self, place: int, name: str, found: os.stat_result) -> tarfile.TarInfo | None:
        entry = tarfile.TarInfo(name)
        entry.mode, entry.uid, entry.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        if self._users is not None:
            entry.uid, entry.gid = self._users.inside(entry.uid, entry.gid)
        entry.mtime = found.st_mtime
        kind = _TAR_TYPES.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            return None
        entry.type = kind
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and kind != tarfile.DIRTYPE:
            if key in self._seen:
                entry.type, entry.linkname = tarfile.LNKTYPE, self._seen[key]
                return entry
            self._seen[key] = name
        if kind == tarfile.SYMTYPE:
            try:
                entry.linkname = os.readlink("", dir_fd=place)
            except FileNotFoundError:  # of a process that has ended
                return None
        elif kind == tarfile.REGTYPE:
            entry.size = found.st_size
        elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            entry.devmajor, entry.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
        return entry


class _Filled:
    """A file that never ends too soon: its size has been written already."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        return data + bytes(max(0, size - len(data)))


_TAR_TYPES: Final = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def pack(root: int, target: BinaryIO) -> None:
    """Write everything below a root as a tar, names without a leading slash."""
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK) as archive:
        packer = Packer(archive)
        folder = os.open(f"/proc/self/fd/{root}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            packer.add_all(folder, "")
        finally:
            os.close(folder)
