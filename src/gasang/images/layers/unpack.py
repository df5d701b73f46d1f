"""A layer's tar stream into a directory in overlayfs' form: `Unpacker`.

The native loop (advance.py) makes directories, files and links; here is what is rare: extension headers, whiteouts, devices, sparse
files, extended attributes, and names that come twice. The archive is hostile: no entry is made but below the folder, and none through
a symbolic link (walk.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from pathlib import Path


from gasang.core.errors import BadInputError, GasangError
from gasang.images.layers import advance as loop
from gasang.images.layers import state as s
from gasang.images.layers.create import parent_of
from gasang.images.layers.finish import finish_folders
from gasang.images.layers.header_fields import decode_number
from gasang.images.layers.overlay import INTERNAL, OPAQUE_NAME, WHITEOUT, Form, our_form
from gasang.images.layers.pax import Extension, parse_extension
from gasang.images.layers.refusals import REFUSALS
from gasang.images.layers.sparse import SparseContent, old_map, pax_map
from gasang.images.layers.walk import REFUSING, forget
from gasang.images.spool import out_of_space
from gasang.native import ctype_of

EXTENSION_ROOM = 1 << 20
FOLDERS_ROOM = 1 << 16
_DEVICES = {loop.CHARACTER: stat.S_IFCHR, loop.BLOCK_DEVICE: stat.S_IFBLK, loop.FIFO: stat.S_IFIFO}
_NO_XATTRS = (errno.ENOTSUP, errno.EPERM, errno.ENODATA)
_BILLION = 1_000_000_000


class Unpacker:
    """Fills a directory, piece by piece. After an error only `close` may be called; what is there then is of no use."""

    def __init__(self, folder: Path, subject: str, form: Form | None = None) -> None:
        self._folder = folder
        self._subject = subject
        self._form = form or our_form()
        self._state = ctype_of(s.Unpacking)()
        self._extension_room = ctypes.create_string_buffer(EXTENSION_ROOM)
        self._folders_room = ctypes.create_string_buffer(FOLDERS_ROOM)
        self._extension = Extension()
        self._sparse: SparseContent | None = None
        self._xattrs: dict[str, bytes] = {}
        self._opaque: set[bytes] = set()
        self._prepare()
        self._handlers = {
            s.GATHERED: self._extend, s.ASKED: self._make, s.PIECE: self._take, s.DONE: self._done, s.TAKEN: self._make_way,
            s.FULL: self._more_room, s.FAILED: self._fail, s.REFUSED: self._refuse, s.ENDED: lambda: None,
        }  # fmt: skip

    def _prepare(self) -> None:
        state = self._state
        state.file = -1
        state.owned = self._form is Form.TRUSTED
        state.umask = _umask()
        state.extension = ctypes.addressof(self._extension_room)
        state.extension_room = EXTENSION_ROOM
        state.folders = ctypes.addressof(self._folders_room)
        state.folders_room = FOLDERS_ROOM
        try:
            state.root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as fault:
            raise out_of_space(fault, self._folder) from fault

    @property
    def written(self) -> int:
        """Bytes of content written."""
        return int(self._state.written)

    def feed(self, piece: bytes) -> None:
        """Unpack the next piece. Raises BadInputError for a hostile or damaged archive, OutOfSpaceError on a full disk."""
        state = self._state
        state.position = 0
        address = ctypes.cast(ctypes.c_char_p(piece), ctypes.c_void_p).value
        size = len(piece)
        self._piece = piece
        try:
            while (event := loop.advance(state, address, size)) != s.MORE:
                self._handlers[event]()
        except OSError as fault:
            raise self._host_error(fault) from fault

    def finish(self) -> None:
        """The stream has ended: set what must come last. Raises BadInputError where it was cut short."""
        state = self._state
        if not (state.phase == s.FINISHED or (state.phase in (s.HEADER, s.PADDING) and not state.have and not state.told)):
            raise BadInputError(self._subject, "its archive ends early", "pull it again")
        try:
            for path in self._opaque:
                self._mark_opaque(path)
            event = finish_folders(state)
            if event != s.MORE:
                self._handlers[event]()
        except OSError as fault:
            raise self._host_error(fault) from fault
        self.close()

    def close(self) -> None:
        """Close what is open."""
        state = self._state
        forget(state, 0)
        for field in ("file", "root"):
            if getattr(state, field) >= 0:
                os.close(getattr(state, field))
                setattr(state, field, -1)
        self._sparse = None

    # events

    def _extend(self) -> None:
        state = self._state
        raw = ctypes.string_at(state.extension, state.extension_length)
        if state.kind == loop.LONG_NAME:
            self._tell_name("path", raw.rstrip(b"\0"))
        elif state.kind == loop.LONG_LINK:
            self._tell_name("link", raw.rstrip(b"\0"))
        elif state.kind == loop.PAX:
            self._tell(parse_extension(raw, self._subject))

    def _tell(self, extension: Extension) -> None:
        state = self._state
        self._extension = extension
        name = extension.sparse.get("name")
        path = name.encode("utf-8", "surrogateescape") if name else extension.path
        if path is not None:
            self._tell_name("path", path)
        if extension.link is not None:
            self._tell_name("link", extension.link)
        for bit, field, value in (
            (s.TOLD_SIZE, "size", extension.size), (s.TOLD_USER, "user", extension.user), (s.TOLD_GROUP, "group", extension.group),
        ):  # fmt: skip
            if value is not None:
                setattr(state, field, value)
                state.told |= bit
        if extension.mtime is not None:
            seconds, rest = divmod(extension.mtime, _BILLION)
            state.times[:] = [seconds, rest, seconds, rest]
            state.told |= s.TOLD_TIME
        if extension.sparse:
            state.told |= s.TOLD_ASK
        self._xattrs = extension.xattrs
        if extension.xattrs:
            state.told |= s.TOLD_AFTER

    def _tell_name(self, field: str, name: bytes) -> None:
        if len(name) >= s.PATH_ROOM:
            raise self._refusal(s.TOO_LONG)
        ctypes.memmove(getattr(self._state, field), name + b"\0", len(name) + 1)
        setattr(self._state, f"{field}_length", len(name))
        self._state.told |= s.TOLD_PATH if field == "path" else s.TOLD_LINK

    def _make(self) -> None:
        """An entry that is not for the native loop."""
        state = self._state
        name = self._name
        if name.startswith(WHITEOUT):
            self._white_out(name)
        elif state.kind in _DEVICES:
            self._make_device(_DEVICES[state.kind])
        elif state.kind in (loop.FILE, loop.SPARSE):
            self._begin_sparse()
        else:
            raise self._refusal(s.UNKNOWN_KIND)

    @property
    def _name(self) -> bytes:
        return bytes(self._state.path[self._state.base : self._state.path_length])

    @property
    def _path(self) -> bytes:
        return bytes(self._state.path[: self._state.path_length])

    def _parent(self) -> int:
        """The directory of the entry, made if it is not there."""
        return self._walked(parent_of(self._state, True))

    def _walked(self, found: int) -> int:
        if found < REFUSING:
            raise self._refusal(REFUSING - found)
        if found < 0:
            raise OSError(-found, os.strerror(-found))
        return found

    def _white_out(self, name: bytes) -> None:
        parent = self._parent()
        if name == OPAQUE_NAME:
            self._opaque.add(self._path[: max(0, self._state.base - 1)])
            return
        hidden = name.removeprefix(WHITEOUT)
        if name.startswith(INTERNAL):
            return
        if hidden in (b"", b".", b".."):
            raise self._refusal(s.CLIMBS)
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # The layer itself has it: only what lies below a directory is left to hide.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                self._opaque.add(self._path[: self._state.base] + hidden)

    def _mark_opaque(self, path: bytes) -> None:
        """Directories only; what a later entry has put in the place of one hides what is below by itself."""
        if not path:
            return
        state = self._state
        parent, _, name = path.rpartition(b"/")
        ctypes.memmove(state.path, path + b"\0", len(path) + 1)
        state.base, state.path_length = len(path) - len(name), len(path)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._parent())
        except NotADirectoryError:
            return
        try:
            os.setxattr(descriptor, self._form.opaque, b"y")
        finally:
            os.close(descriptor)

    def _make_device(self, kind: int) -> None:
        state = self._state
        parent, name = self._parent(), self._name
        header = bytes(state.header)
        device = 0
        if kind != stat.S_IFIFO:
            major, minor = (decode_number(header[at : at + 8], self._subject) for at in (329, 337))
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise self._refusal(s.NUMBER)
            device = os.makedev(major, minor)
        if self._form is Form.USER and kind != stat.S_IFIFO:
            return  # nobody but root makes devices; a container gets its own /dev
        self._clear(parent, name)
        os.mknod(name, kind | (state.mode & 0o777), device, dir_fd=self._parent())
        self._dress(name)

    def _dress(self, name: bytes) -> None:
        """Owner, mode and time of what Python made."""
        state = self._state
        parent = self._parent()
        if state.owned:
            os.chown(name, state.user, state.group, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, state.mode, dir_fd=parent)  # what we made ourselves a moment ago is no link
        seconds, rest = state.times[2], state.times[3]
        os.utime(name, ns=(seconds * _BILLION + rest,) * 2, dir_fd=parent, follow_symlinks=False)

    def _begin_sparse(self) -> None:
        state = self._state
        if state.kind == loop.SPARSE:
            size, more, read_map = old_map(bytes(state.header), self._subject)
            state.left += more
        else:
            size, read_map = pax_map(self._extension.sparse, self._subject)
        parent, name = self._parent(), self._name
        self._clear(parent, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        state.file = os.open(name, flags, 0o600, dir_fd=self._parent())
        self._sparse = SparseContent(state.file, size, read_map, self._subject)

    def _take(self) -> None:
        state = self._state
        count = min(state.left, len(self._piece) - state.position)
        data = self._piece[state.position : state.position + count]
        if self._sparse is not None:
            if state.kind == loop.SPARSE and self._sparse.reading_map:
                data = data[: s.BLOCK - self._sparse.pending % s.BLOCK]
                count = len(data)
            self._sparse.take(data)
            if state.kind == loop.SPARSE and self._sparse.reading_map and self._sparse.pending % s.BLOCK == 0:
                state.left += s.BLOCK
        state.position += count
        state.left -= count

    def _done(self) -> None:
        """An entry of ours has ended, or one that has attributes is there."""
        if self._sparse is not None:
            self._sparse.finish()
            self._sparse = None
            os.close(self._state.file)
            self._state.file = -1
            self._dress(self._name)
            return
        if self._xattrs and self._state.phase != s.HANDED and not self._state.after:
            self._set_xattrs()

    def _set_xattrs(self) -> None:
        xattrs, self._xattrs = self._xattrs, {}
        place = f"/proc/self/fd/{self._parent()}/".encode() + self._name
        for name, value in xattrs.items():
            try:
                os.setxattr(place, name, value, follow_symlinks=False)
            except OSError as fault:  # a file system without attributes, or a user who may not set capabilities, runs the rest all the same
                if fault.errno not in _NO_XATTRS:
                    raise

    def _make_way(self) -> None:
        """Something has the entry's name already: a later entry of an archive replaces an earlier one."""
        state = self._state
        if state.kind == loop.HARD_LINK and self._path == bytes(state.link[: state.link_length]):
            state.phase = s.PADDING
            return
        name = self._name
        parent = self._parent()
        if state.kind == loop.FOLDER and _is_whiteout(parent, name):
            self._opaque.add(self._path)
        self._clear(parent, name)

    def _clear(self, parent: int, name: bytes) -> None:
        """Remove what has a name, if anything. Directories that were open may be closed after this."""
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=parent)
            return
        forget(self._state, 0)
        shutil.rmtree(os.fsdecode(name), dir_fd=self._parent())

    def _more_room(self) -> None:
        state = self._state
        bigger = ctypes.create_string_buffer(state.folders_room * 2)
        ctypes.memmove(bigger, self._folders_room, state.folders_length)
        self._folders_room = bigger
        state.folders, state.folders_room = ctypes.addressof(bigger), len(bigger)

    def _fail(self) -> None:
        raise OSError(self._state.error, os.strerror(self._state.error))

    def _refuse(self) -> None:
        raise self._refusal(self._state.error)

    # errors

    def _shown(self) -> str:
        text = self._path.decode("utf-8", "replace")[:200]
        return "".join(sign if sign.isprintable() else "?" for sign in text)

    def _refusal(self, rule: int) -> BadInputError:
        return BadInputError(self._subject, REFUSALS[rule].format(name=self._shown() or "an entry"), "do not use it: it is damaged or hostile")

    def _host_error(self, fault: OSError) -> GasangError:
        if fault.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EMLINK, errno.EILSEQ):
            return BadInputError(self._subject, f"{self._shown()} in it cannot be made ({fault.strerror})", "pull another image")
        told = out_of_space(fault, self._folder)
        if type(told) is GasangError:
            return GasangError(self._subject, f"{self._shown()} cannot be made ({fault.strerror})", "check the disk, then pull it again")
        return told


def _is_whiteout(parent: int, name: bytes) -> bool:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _umask() -> int:
    """This process's umask, read without changing it under other threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o777


