"""A tar archive into a running or resting container's files. Links of the container are followed, and never lead out of its root.

The container may exchange anything for a link while we work: nothing is named a second time but by a descriptor that does not follow one.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final

from gasang.core.errors import BadInputError, UsageError
from gasang.daemon.containers.packing import pack
from gasang.host import users
from gasang.host.trees import absolute, open_within
from gasang.images.layers.overlay import white_out

BLOCK: Final = 1 << 20
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY
_OF_NAMES: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_NODES: Final = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}


class Extraction:
    """Puts an archive's entries below `root`. `keeps_kind` refuses to put a folder in a file's place and the other way round.

    `owner` replaces the owner of every entry; None keeps what the archive says. Without `devices` their nodes are left out.
    `outside` gives the numbers that the owners of entries have here.
    """

    def __init__(
        self, root: int, *, keeps_kind: bool = False, owner: tuple[int, int] | None = None, devices: bool = True,
        outside: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        self._devices = devices
        self._root = root
        self._keeps_kind = keeps_kind
        self._owner = None if users.is_alone() else owner  # all that is made belongs to the only user there is
        self._outside = outside
        self._folders: list[tuple[str, tarfile.TarInfo]] = []

    def all(self, source: BinaryIO) -> None:
        """Unpack a tar stream, compressed or not. Raises BadInputError for a damaged one, UsageError, OSError."""
        try:
            with tarfile.open(fileobj=source, mode="r:*") as archive:
                for entry in archive:
                    self.one(entry, archive.extractfile(entry) if entry.isreg() else None)
        except (tarfile.TarError, EOFError) as error:
            raise BadInputError("archive", f"it is damaged ({str(error).partition(chr(10))[0].rstrip(':')})", "send it again") from error
        self.finish()

    def one(self, entry: tarfile.TarInfo, content: object) -> None:
        """Unpack one entry."""
        name = absolute(entry.name)
        if name == "/" or (entry.isdev() and not self._devices):
            return
        parent, base = posixpath.split(name)
        try:
            folder = self._folder(parent)
            try:
                self._make(entry, folder, base, content, name)
            finally:
                os.close(folder)
        except OSError as error:
            if error.errno not in _OF_NAMES:
                raise
            raise BadInputError("archive", f"{entry.name[:200]!r} cannot be unpacked ({error.strerror})", "correct it") from error

    def _folder(self, path: str) -> int:
        """A descriptor of a folder below the root, made with those above it if need be."""
        try:
            return open_within(self._root, path, _FOLDER)
        except FileNotFoundError:
            parent, base = posixpath.split(path)
            above = self._folder(parent)
            try:
                with suppress(FileExistsError):
                    os.mkdir(base, 0o755, dir_fd=above)
                    if self._owner:
                        os.chown(base, *self._owner, dir_fd=above, follow_symlinks=False)
            finally:
                os.close(above)
            return open_within(self._root, path, _FOLDER)

    def _make(self, entry: tarfile.TarInfo, folder: int, base: str, content: object, name: str) -> None:
        there = self._there(folder, base)
        if entry.isdir():
            if there is not None and not stat.S_ISDIR(there.st_mode):
                self._clear(folder, base, there, name)
                there = None
            if there is None:
                os.mkdir(base, 0o700, dir_fd=folder)
            self._folders.append((name, entry))
            self._own(entry, folder, base)
            _set_mode(folder, base, entry.mode)
            return
        if there is not None:
            self._clear(folder, base, there, name)
        if entry.isreg():
            assert hasattr(content, "read")
            descriptor = os.open(base, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
            with open(descriptor, "wb") as file:
                shutil.copyfileobj(content, file, BLOCK)
        elif entry.issym():
            os.symlink(entry.linkname, base, dir_fd=folder)
        elif entry.islnk():
            self._link(entry, folder, base)
            return
        elif entry.ischr() and not (entry.devmajor or entry.devminor):
            white_out(folder, base)
            return
        elif entry.type in _NODES:
            os.mknod(base, _NODES[entry.type] | 0o600, os.makedev(entry.devmajor, entry.devminor), dir_fd=folder)
        else:
            return
        self._own(entry, folder, base)
        if not entry.issym():
            _set_mode(folder, base, entry.mode)
        os.utime(base, (entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)

    def _there(self, folder: int, base: str) -> os.stat_result | None:
        try:
            return os.stat(base, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _clear(self, folder: int, base: str, there: os.stat_result, name: str) -> None:
        is_folder = stat.S_ISDIR(there.st_mode)
        if self._keeps_kind:
            kinds = "a directory with a non-directory" if is_folder else "a non-directory with a directory"
            if is_folder:
                raise UsageError(f"path {name[:200]}", f"cannot overwrite {kinds}", "remove it first")
        if is_folder:
            shutil.rmtree(base, dir_fd=folder)
        else:
            os.unlink(base, dir_fd=folder)

    def _link(self, entry: tarfile.TarInfo, folder: int, base: str) -> None:
        parent, target = posixpath.split(absolute(entry.linkname))
        try:
            source = open_within(self._root, parent, _FOLDER)
        except OSError as error:
            raise BadInputError("archive", f"link {entry.name[:100]!r} leads to nothing", "send it again") from error
        try:
            os.link(target, base, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)

    def _own(self, entry: tarfile.TarInfo, folder: int, base: str) -> None:
        if users.is_alone():
            return
        uid, gid = self._owner or (self._outside(entry.uid, entry.gid) if self._outside else (entry.uid, entry.gid))
        os.chown(base, uid, gid, dir_fd=folder, follow_symlinks=False)

    def finish(self) -> None:
        """Set the times of folders, which what was made in them has changed."""
        for name, entry in reversed(self._folders):
            with suppress(OSError):
                parent, base = posixpath.split(name)
                folder = open_within(self._root, parent, _FOLDER)
                try:
                    os.utime(base, (entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)
                finally:
                    os.close(folder)


def _set_mode(folder: int, base: str, mode: int) -> None:
    """chmod(2) follows links, also one that has taken the place of what we made: out of a running container into the host."""
    place = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not stat.S_ISLNK(os.fstat(place).st_mode):
            os.chmod(f"/proc/self/fd/{place}", mode & 0o7777)
    finally:
        os.close(place)


def copy_tree(source: int, target: int) -> None:
    """Copy what is in the folder `source` into the folder `target`, both by descriptor, with owners, rights and times."""
    with tempfile.TemporaryFile() as archive:
        pack(source, archive)
        archive.seek(0)
        Extraction(target).all(archive)
