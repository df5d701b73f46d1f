"""A layer's tar stream into a directory in overlayfs' form: `Unpacker`.

The native loop (advance.py) makes directories, files and links, and returns an event where it needs more: extension headers are read
here, rare entries are made by rare.py. The archive is hostile: no entry is made but below the folder, and none through a symbolic link
(walk.py).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from gasang.core.errors import BadInputError
from gasang.images.layers import advance as loop
from gasang.images.layers import state as s
from gasang.images.layers.library import load
from gasang.images.layers.overlay import Form, our_form, owns_files
from gasang.images.layers.pax import Extension, parse_extension
from gasang.images.layers.place import Place
from gasang.images.layers.rare import RareEntries
from gasang.images.spool import out_of_space
from gasang.native import ctype_of

EXTENSION_ROOM = 1 << 20
FOLDERS_ROOM = 1 << 16
_BILLION = 1_000_000_000


class Unpacker:
    """Fills a directory, piece by piece. After an error only `close` may be called; what is there then is of no use."""

    def __init__(self, folder: Path, subject: str, form: Form | None = None) -> None:
        chosen = form or our_form()
        self._native = load().functions
        self._state = ctype_of(s.Unpacking)()
        self._place = Place(self._state, folder, subject)
        self._rare = RareEntries(self._place, chosen)
        self._extension_room = ctypes.create_string_buffer(EXTENSION_ROOM)
        self._folders_room = ctypes.create_string_buffer(FOLDERS_ROOM)
        self._extension = Extension()
        self._piece = b""
        self._prepare(folder, owned=owns_files(chosen))
        self._handlers: dict[int, Callable[[], None]] = {
            s.GATHERED: self._extend,
            s.ASKED: lambda: self._rare.make(self._extension.sparse),
            s.PIECE: lambda: self._rare.take(self._piece),
            s.DONE: self._done,
            s.TAKEN: self._rare.make_way,
            s.FULL: self._more_room,
            s.FAILED: self._fail,
            s.REFUSED: self._refuse,
            s.ENDED: lambda: None,
        }

    def _prepare(self, folder: Path, *, owned: bool) -> None:
        state = self._state
        state.file = state.root = -1
        state.owned = owned
        state.umask = _umask()
        state.extension = ctypes.addressof(self._extension_room)
        state.extension_room = EXTENSION_ROOM
        state.folders = ctypes.addressof(self._folders_room)
        state.folders_room = FOLDERS_ROOM
        try:
            state.root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as fault:
            raise out_of_space(fault, folder) from fault

    @property
    def written(self) -> int:
        """Bytes of content written."""
        return int(self._state.written)

    def feed(self, piece: bytes) -> None:
        """Unpack the next piece. Raises BadInputError for a hostile or damaged archive, OutOfSpaceError on a full disk."""
        self._piece = piece
        self._state.position = 0
        address = ctypes.cast(ctypes.c_char_p(piece), ctypes.c_void_p).value
        try:
            advance = self._native["advance"]
            while (event := advance(self._state, address, len(piece))) != s.MORE:
                self._handlers[event]()
        except OSError as fault:
            raise self._place.host_error(fault) from fault

    def finish(self) -> None:
        """The stream has ended: set what must come last. Raises BadInputError where it was cut short."""
        state = self._state
        whole = state.phase == s.FINISHED or (state.phase in (s.HEADER, s.PADDING) and not state.have and not state.padding)
        if not whole or state.told:
            raise BadInputError(self._place.subject, "its archive ends early", "pull it again")
        try:
            self._rare.mark_opaque()
            event = self._native["finish_folders"](state)
            if event != s.MORE:
                self._handlers[event]()
        except OSError as fault:
            raise self._place.host_error(fault) from fault
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._native["forget"](self._state, 0)
        for field in ("file", "root"):
            if getattr(self._state, field) >= 0:
                os.close(getattr(self._state, field))
                setattr(self._state, field, -1)

    # extension headers

    def _extend(self) -> None:
        state = self._state
        raw = ctypes.string_at(state.extension, state.extension_length)
        if state.kind == loop.LONG_NAME:
            self._tell_name("path", raw.rstrip(b"\0"))
        elif state.kind == loop.LONG_LINK:
            self._tell_name("link", raw.rstrip(b"\0"))
        elif state.kind == loop.PAX:
            self._tell(parse_extension(raw, self._place.subject))

    def _tell(self, extension: Extension) -> None:
        """Have the native loop use what an extended header says of the next entry."""
        state = self._state
        self._extension = extension
        name = extension.sparse.get("name")
        path = name.encode("utf-8", "surrogateescape") if name else extension.path
        for field, text in (("path", path), ("link", extension.link)):
            if text is not None:
                self._tell_name(field, text)
        for bit, field, value in (
            (s.TOLD_SIZE, "size", extension.size),
            (s.TOLD_USER, "user", extension.user),
            (s.TOLD_GROUP, "group", extension.group),
        ):
            if value is not None:
                setattr(state, field, value)
                state.told |= bit
        if extension.mtime is not None:
            seconds, rest = divmod(extension.mtime, _BILLION)
            state.times[:] = [seconds, rest, seconds, rest]
            state.told |= s.TOLD_TIME
        state.told |= (s.TOLD_ASK if extension.sparse else 0) | (s.TOLD_AFTER if extension.xattrs else 0)

    def _tell_name(self, field: str, name: bytes) -> None:
        if len(name) >= s.PATH_ROOM:
            raise self._place.refusal(s.TOO_LONG)
        ctypes.memmove(getattr(self._state, field), name + b"\0", len(name) + 1)
        setattr(self._state, f"{field}_length", len(name))
        self._state.told |= s.TOLD_PATH if field == "path" else s.TOLD_LINK

    # other events

    def _done(self) -> None:
        """An entry made in Python has ended, or one is made that has attributes."""
        if not self._rare.end() and self._state.phase == s.PADDING and not self._state.after:
            self._rare.set_xattrs(self._extension.xattrs)
            self._extension = Extension()

    def _more_room(self) -> None:
        state = self._state
        bigger = ctypes.create_string_buffer(state.folders_room * 2)
        ctypes.memmove(bigger, self._folders_room, state.folders_length)
        self._folders_room = bigger
        state.folders, state.folders_room = ctypes.addressof(bigger), len(bigger)

    def _fail(self) -> None:
        raise OSError(self._state.error, os.strerror(self._state.error))

    def _refuse(self) -> None:
        raise self._place.refusal(self._state.error)


def _umask() -> int:
    """The process's umask, read without changing it under other threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o777
