"""The shared folder itself: its nodes opened, and what is done to its entries. The guest's words come checked (wire.Reader).

Every path is walked from the folder's own descriptor by openat2(2), beneath it and through no symbolic link; a name is then one step from
a directory that was opened so, and its link is never followed. Whatever a guest, or somebody on the host beside it, renames or replaces
meanwhile, what is reached lies in the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.host.trees import open_plain, rename_within
from gasang.storage.share.nodes import Key, Node
from gasang.storage.share.wire import Refusal, harmless_mode

_PATH: Final = getattr(os, "O_PATH", 0) | getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)
_CAREFUL: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""A file that is none may wait for somebody when it is opened, or become our terminal."""
_NEW: Final = os.O_CREAT | os.O_EXCL


class Folder:
    """A folder of the host by its descriptor. Owners are the guest's where the host lets us give files away (root)."""

    def __init__(self, path: Path) -> None:
        """Raises NotFoundError, BadInputError, or UnsupportedError where the host cannot keep a guest in a folder."""
        subject = f"folder {path}"
        try:
            self.descriptor = os.open(path, _PATH & ~getattr(os, "O_NOFOLLOW", 0) | _DIRECTORY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise NotFoundError(subject, "it does not exist", "check the path") from error
        except OSError as error:
            raise BadInputError(subject, f"it cannot be shared ({error.strerror})", "give a folder that can be read") from error
        try:
            os.close(open_plain(self.descriptor, ".", _PATH))
        except (OSError, AttributeError, KeyError) as error:
            os.close(self.descriptor)
            raise UnsupportedError(subject, "this host cannot keep a guest inside a folder", "use Linux 5.6 or newer") from error
        self.key = _key(os.fstat(self.descriptor))
        self._gives = hasattr(os, "geteuid") and os.geteuid() == 0

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    # Opening.

    @contextmanager
    def at(self, node: Node, flags: int = _PATH) -> Iterator[int]:
        """A descriptor of a node for the block; ESTALE where its place has something else now."""
        descriptor = self.open(node, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, node: Node, flags: int = _PATH) -> int:
        """A descriptor of a node. Raises OSError; ESTALE where its place has something else now."""
        descriptor = open_plain(self.descriptor, node.path(), flags)
        if _key(os.fstat(descriptor)) != node.key:
            os.close(descriptor)
            raise Refusal(errno.ESTALE)
        return descriptor

    def open_file(self, node: Node, flags: int) -> int:
        """A regular file for reading or writing; what is none is refused with EACCES and never opened as what it is."""
        with self.at(node) as found:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise Refusal(errno.EACCES)
        opened = self.open(node, flags | _CAREFUL)
        self._disarm(opened, flags)
        return opened

    def _disarm(self, descriptor: int, flags: int) -> None:
        """What a guest may write to lends nobody its owner's rights: the host leaves the bits that do when root writes."""
        mode = os.fstat(descriptor).st_mode
        if flags & (os.O_WRONLY | os.O_RDWR) and mode & (stat.S_ISUID | stat.S_ISGID):
            os.fchmod(descriptor, harmless_mode(mode, 0))

    def open_directory(self, node: Node) -> int:
        """A directory for reading its entries."""
        return self.open(node, os.O_RDONLY | _DIRECTORY | _CAREFUL)

    @contextmanager
    def _place(self, node: Node) -> Iterator[tuple[int, str]]:
        """The directory a node is in, and its name there; the node has been found to be there."""
        if node.parent is None:
            raise Refusal(errno.EPERM)
        with self.at(node), self.at(node.parent) as directory:
            yield directory, node.name

    # Looking.

    def status(self, node: Node) -> os.stat_result:
        """A node's."""
        with self.at(node) as found:
            return os.fstat(found)

    def look(self, parent: Node, name: str) -> os.stat_result:
        """The status of a directory's entry."""
        descriptor = open_plain(self.descriptor, _child(parent, name), _PATH)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def link_target(self, node: Node) -> str:
        """What a symbolic link says."""
        with self.at(node) as found:
            return os.readlink("", dir_fd=found)

    def space(self) -> os.statvfs_result:
        """Of the file system that has the folder."""
        return os.fstatvfs(self.descriptor)

    # Making. An entry is the guest's: it gets its mode, whatever our mask, and its owner.

    def make_directory(self, parent: Node, name: str, mode: int, owner: tuple[int, int]) -> None:
        """A new directory."""
        _child(parent, name)
        with self.at(parent) as directory:
            os.mkdir(name, harmless_mode(mode, stat.S_IFDIR), dir_fd=directory)
            made = open_plain(directory, name, os.O_RDONLY | _DIRECTORY | _CAREFUL)
            try:
                self._finish(made, harmless_mode(mode, stat.S_IFDIR), owner)
            finally:
                os.close(made)

    def make_file(self, parent: Node, name: str, flags: int, mode: int, owner: tuple[int, int]) -> int:
        """A descriptor of a new file; EEXIST where there is something."""
        _child(parent, name)
        with self.at(parent) as directory:
            made = open_plain(directory, name, flags | _NEW | _CAREFUL, harmless_mode(mode, 0))
        try:
            self._finish(made, harmless_mode(mode, 0), owner)
        except BaseException:
            os.close(made)
            raise
        return made

    def make_special(self, parent: Node, name: str, mode: int, owner: tuple[int, int]) -> None:
        """A fifo or a socket; devices of the host are refused with EPERM."""
        _child(parent, name)
        if stat.S_IFMT(mode) not in (stat.S_IFIFO, stat.S_IFSOCK):
            raise Refusal(errno.EPERM)
        with self.at(parent) as directory:
            os.mknod(name, stat.S_IFMT(mode) | harmless_mode(mode, 0), dir_fd=directory)
            self._give(directory, name, owner)

    def make_link(self, parent: Node, name: str, target: str, owner: tuple[int, int]) -> None:
        """A symbolic link; what it says is for those who follow it."""
        _child(parent, name)
        with self.at(parent) as directory:
            os.symlink(target, name, dir_fd=directory)
            self._give(directory, name, owner)

    def _finish(self, made: int, mode: int, owner: tuple[int, int]) -> None:
        if self._gives:
            os.fchown(made, *owner)
        os.fchmod(made, mode)

    def _give(self, directory: int, name: str, owner: tuple[int, int]) -> None:
        if self._gives:
            os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)

    # Changing entries.

    def hard_link(self, node: Node, parent: Node, name: str) -> None:
        """Another name for a file."""
        _child(parent, name)
        with self._place(node) as (source, old), self.at(parent) as target:
            os.link(old, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)

    def remove(self, parent: Node, name: str, *, directory: bool) -> os.stat_result:
        """Take an entry away; the status that it had."""
        with self.at(parent) as found:
            status = os.stat(name, dir_fd=found, follow_symlinks=False)
            (os.rmdir if directory else os.unlink)(name, dir_fd=found)
            return status

    def rename(self, old: tuple[Node, str], new: tuple[Node, str], flags: int) -> tuple[os.stat_result, os.stat_result | None]:
        """Rename an entry: the status of what was there, and of what was at the other place (None: nothing)."""
        _child(*new)
        with self.at(old[0]) as source, self.at(new[0]) as target:
            moved = os.stat(old[1], dir_fd=source, follow_symlinks=False)
            other = None
            with contextlib.suppress(FileNotFoundError):
                other = os.stat(new[1], dir_fd=target, follow_symlinks=False)
            rename_within(source, old[1], target, new[1], flags)
            return moved, other

    # Changing what a node says of itself.

    def set_mode(self, node: Node, mode: int) -> None:
        """Permissions of a file or directory; others have none of their own here (EOPNOTSUPP)."""
        kind = self.status(node).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise Refusal(errno.EOPNOTSUPP)
        with self._readable(node) as found:
            os.fchmod(found, harmless_mode(mode, kind))

    @contextmanager
    def _readable(self, node: Node) -> Iterator[int]:
        """A file or directory opened, for writing if it cannot be read."""
        try:
            found = self.open(node, os.O_RDONLY | _CAREFUL)
        except PermissionError:
            found = self.open(node, os.O_WRONLY | _CAREFUL)
        try:
            yield found
        finally:
            os.close(found)

    def set_owner(self, node: Node, uid: int, gid: int) -> None:
        """The owner, or the group, or both (-1: as it is)."""
        if node.parent is None:
            with self._readable(node) as found:
                os.fchown(found, uid, gid)
            return
        with self._place(node) as (directory, name):
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)

    def set_times(self, node: Node, times: tuple[int, int]) -> None:
        """When it was read and written last, in nanoseconds."""
        if node.parent is None:
            with self._readable(node) as found:
                os.utime(found, ns=times)
            return
        with self._place(node) as (directory, name):
            os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def set_size(self, node: Node, size: int) -> None:
        """Cut a file off, or let it have zeroes at its end."""
        found = self.open_file(node, os.O_WRONLY)
        try:
            os.ftruncate(found, size)
        finally:
            os.close(found)


def _key(status: os.stat_result) -> Key:
    return status.st_dev, status.st_ino


def _child(parent: Node, name: str) -> str:
    """The place of an entry. Refused with ENAMETOOLONG where it is longer than the host allows: what is made must be found again."""
    return Node(0, (0, 0), parent, name).path()
