"""Entries that the native loop leaves to Python: whiteouts, devices, sparse files, and extended attributes of any."""

from __future__ import annotations

import errno
import os
import shutil
import stat

from gasang.images.layers import advance as loop
from gasang.images.layers import state as s
from gasang.images.layers.header_fields import decode_number
from gasang.images.layers.library import load
from gasang.images.layers.overlay import INTERNAL, OPAQUE_NAME, WHITEOUT, Form, white_out
from gasang.images.layers.place import Place
from gasang.images.layers.sparse import SparseContent, old_map, pax_map

_DEVICES = {loop.CHARACTER: stat.S_IFCHR, loop.BLOCK_DEVICE: stat.S_IFBLK, loop.FIFO: stat.S_IFIFO}
_NO_XATTRS = (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.ENOENT)
"""A file system without attributes, a user who may not set capabilities, an entry left out: the rest works all the same."""
_BILLION = 1_000_000_000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class RareEntries:
    """Makes them. Raises BadInputError and OSError."""

    def __init__(self, place: Place, form: Form) -> None:
        self._place = place
        self._form = form
        self._sparse: SparseContent | None = None
        self._opaque: set[bytes] = set()

    def make(self, sparse: dict[str, str]) -> None:
        """The entry the native loop asked for; `sparse` are its GNU.sparse records."""
        name, kind = self._place.name, self._place.state.kind
        if self._place.path.startswith(INTERNAL) and name != OPAQUE_NAME:
            return
        if name.startswith(WHITEOUT):
            self._white_out(name)
        elif kind in _DEVICES:
            self._make_device(_DEVICES[kind], name)
        elif kind in (loop.FILE, loop.SPARSE):
            self._begin_sparse(sparse, name)
        else:
            raise self._place.refusal(s.UNKNOWN_KIND)

    def _white_out(self, name: bytes) -> None:
        place = self._place
        parent = place.parent()
        folder = place.path[: place.state.base]
        if name == OPAQUE_NAME:
            self._opaque.add(folder.rstrip(b"/"))
            return
        hidden = name.removeprefix(WHITEOUT)
        if name.startswith(INTERNAL):
            return
        if hidden in (b"", b".", b".."):
            raise place.refusal(s.CLIMBS)
        try:
            white_out(parent, hidden)
        except FileExistsError:
            # The layer itself has it: only what lies below a directory is left to hide.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                self._opaque.add(folder + hidden)

    def mark_opaque(self) -> None:
        """At the end: directories that hide what is below. What a later entry has put in the place of one does so by itself."""
        for path in filter(None, self._opaque):
            name = self._place.go_to(path)
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._place.parent())
            except (NotADirectoryError, FileNotFoundError):
                continue
            try:
                os.setxattr(descriptor, self._form.opaque, b"y")
            finally:
                os.close(descriptor)

    def _make_device(self, kind: int, name: bytes) -> None:
        state = self._place.state
        header = bytes(state.header)
        device = 0
        if kind != stat.S_IFIFO:
            major, minor = (decode_number(header[at : at + 8], self._place.subject) for at in (329, 337))
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise self._place.refusal(s.NUMBER)
            device = os.makedev(major, minor)
            if self._form is Form.USER:
                return  # nobody but root makes devices; a container gets its own /dev
        self.clear(name)
        os.mknod(name, kind | (state.mode & 0o777), device, dir_fd=self._place.parent())
        self._dress(name)

    def _dress(self, name: bytes) -> None:
        """Owner, mode and time of what was made here."""
        state = self._place.state
        parent = self._place.parent()
        if state.owned:
            os.chown(name, state.user, state.group, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, state.mode, dir_fd=parent)  # what we made ourselves a moment ago is no link
        moment = state.times[2] * _BILLION + state.times[3]
        os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def _begin_sparse(self, records: dict[str, str], name: bytes) -> None:
        state, subject = self._place.state, self._place.subject
        if state.kind == loop.SPARSE:
            size, more, read_map = old_map(bytes(state.header), subject)
            state.left += more
        else:
            size, read_map = pax_map(records, subject)
        self.clear(name)
        state.file = os.open(name, _CREATE, 0o600, dir_fd=self._place.parent())
        self._sparse = SparseContent(state.file, size, read_map, subject)

    def take(self, piece: bytes) -> None:
        """Content of the entry under way: as much of the piece as belongs to it."""
        state = self._place.state
        count = min(state.left, len(piece) - state.position)
        if self._sparse is not None:
            old = state.kind == loop.SPARSE and self._sparse.reading_map
            if old:  # block by block, for only the block before tells whether there is one more
                count = min(count, s.BLOCK - self._sparse.pending % s.BLOCK)
            self._sparse.take(piece[state.position : state.position + count])
            if old and self._sparse.reading_map and self._sparse.pending % s.BLOCK == 0:
                state.left += s.BLOCK
        state.position += count
        state.left -= count

    def end(self) -> bool:
        """The entry under way has ended; whether it was one of ours with content."""
        if self._sparse is None:
            return False
        sparse, self._sparse = self._sparse, None
        sparse.finish()
        os.close(self._place.state.file)
        self._place.state.file = -1
        self._dress(self._place.name)
        return True

    def set_xattrs(self, xattrs: dict[str, bytes]) -> None:
        """Attributes of the entry just made."""
        for name, value in xattrs.items():
            path = f"/proc/self/fd/{self._place.parent()}/".encode() + self._place.name
            try:
                os.setxattr(path, name, value, follow_symlinks=False)
            except OSError as fault:
                if fault.errno not in _NO_XATTRS:
                    raise

    def make_way(self) -> None:
        """Something has the entry's name already: a later entry of an archive replaces an earlier one."""
        place, state = self._place, self._place.state
        if state.kind == loop.HARD_LINK and place.path == bytes(state.link[: state.link_length]):
            state.phase = s.PADDING
            return
        name = place.name
        if state.kind == loop.FOLDER and _is_whiteout(place.parent(), name):
            self._opaque.add(place.path)
        self.clear(name)

    def clear(self, name: bytes) -> None:
        """Remove what has a name in the entry's directory, if anything."""
        parent = self._place.parent()
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=parent)
            return
        load().functions["forget"](self._place.state, 0)  # directories below it may be open
        shutil.rmtree(os.fsdecode(name), dir_fd=self._place.parent())


def _is_whiteout(parent: int, name: bytes) -> bool:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
