"""Being told when a folder's files change: inotify(7)."""

from __future__ import annotations

from typing import Final

from gasang.host.syscalls import number
from gasang.kinds.container.supervisor.calls import O_CLOEXEC, O_NONBLOCK, close, read
from gasang.native import boolean, i64, native, ptr, syscall, u8, u64

_INIT: Final = number("inotify_init1")
_ADD_WATCH: Final = number("inotify_add_watch")
_MODIFIED, _MOVED_TO, _CREATED, _ONLY_FOLDERS = 0x2, 0x80, 0x100, 0x0100_0000


@native
def watch_folder(path: ptr[u8]) -> i64:
    """A descriptor that can be read when a file in the folder has been written, made or renamed; or an error."""
    made = syscall(_INIT, O_NONBLOCK | O_CLOEXEC)
    if made < 0:
        return made
    added = syscall(_ADD_WATCH, u64(made), u64(path), _MODIFIED | _MOVED_TO | _CREATED | _ONLY_FOLDERS)
    if added < 0:
        close(made)
        return added
    return made


@native
def drain(fd: i64, room: ptr[u8], size: u64) -> boolean:
    """Take all that has been told; whether there was anything."""
    found = False
    while read(fd, room, size) > 0:
        found = True
    return found
