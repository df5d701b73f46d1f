"""Trees of files that are mounted nowhere: an overlay as a descriptor, and paths resolved within a root that they cannot leave.

References: fsopen(2), fsconfig(2), fsmount(2) (detached mounts), openat2(2) (RESOLVE_IN_ROOT).
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError
from gasang.host import users
from gasang.host.mounts import FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV
from gasang.host.syscalls import number

_FSOPEN_CLOEXEC: Final = 1
_SET_FLAG: Final = 0
_SET_STRING: Final = 1
_CREATE: Final = 6
_RESOLVE_IN_ROOT: Final = 0x10
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08
_LONGEST: Final = 255


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | None) -> int:
    """A system call by its name; raises OSError where it fails."""
    made = [ctypes.c_void_p(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc().syscall(ctypes.c_long(number(name)), *made)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def overlay(lowers: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> int:
    """A descriptor of the root of an overlay, the uppermost layer first; it is there until the descriptor is closed.

    Raises PermissionDeniedError without CAP_SYS_ADMIN, GasangError where the kernel refuses.
    """
    try:
        context = call("fsopen", b"overlay", _FSOPEN_CLOEXEC)
        try:
            for key, value in _options(lowers, upper, work):
                call("fsconfig", context, _SET_STRING if value else _SET_FLAG, key.encode(), value.encode() or None, 0)
            call("fsconfig", context, _CREATE, None, None, 0)
            return call("fsmount", context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV)  # an image may have nodes of the host's disks
        finally:
            os.close(context)
    except PermissionError as error:
        raise PermissionDeniedError("layers of a container", "the host does not let us put them together", "run as root") from error
    except OSError as error:
        raise GasangError("layers of a container", f"they cannot be put together ({error.strerror})") from error


def _options(lowers: Sequence[Path], upper: Path | None, work: Path | None) -> list[tuple[str, str]]:
    escaped = [str(path).replace("\\", "\\\\").replace(":", "\\:") for path in lowers]
    joined = ":".join(escaped)
    options = [("lowerdir", joined)] if len(joined) <= _LONGEST else [("lowerdir+", str(path)) for path in lowers]
    if upper is not None and work is not None:
        options += [("upperdir", str(upper)), ("workdir", str(work))]
    return options + [(key, value) for key, _, value in (option.partition("=") for option in plain_overlay())]


def plain_overlay() -> tuple[str, ...]:
    """Options by which an overlay's upper folder is what a layer can be made of: nothing in it that only overlayfs understands.

    Who is not the host's root keeps notes as attributes that any user may set; that rules the rest out by itself.
    """
    return ("redirect_dir=off", "metacopy=off") if users.are_the_hosts() else ("userxattr",)


def absolute(path: str) -> str:
    """A path as a root sees it: one slash at its head (POSIX lets two be something else), no dots, and none but "/" at its end."""
    return posixpath.normpath("/" + path.lstrip("/"))


def open_within(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as a process whose root is the directory `root` would: no symbolic link leads out of it. Raises OSError."""
    return _open(root, path, flags, mode, _RESOLVE_IN_ROOT)


def open_beneath(folder: int, path: str, flags: int) -> int:
    """Open `path` below a directory. Raises OSError, with EXDEV where a symbolic link or a dot-dot leads out of it."""
    return _open(folder, path, flags, 0, _RESOLVE_BENEATH)


def _open(root: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve | _RESOLVE_NO_MAGICLINKS)
    while True:
        try:
            return call("openat2", root, path.encode("utf-8", "surrogateescape"), ctypes.addressof(how), ctypes.sizeof(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:  # a rename somewhere in the tree meanwhile: the kernel could not be sure
                raise
