"""Detached mounts whose files have other owners: those of a user namespace's users (mount_setattr(2), "ID-mapped mounts").

What is on the disk stays as it is: a file of user 0 is seen as the namespace's root's, and what that root makes is written as user 0's.
Overlayfs takes such mounts as layers (Linux 6.15 where they are mounted nowhere). It works with the rights of who made it, so it is made
by a thread that is the namespace's root as far as files go: `as_owner`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from struct import Struct
from typing import Final, TypeVar

from gasang.host.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FD,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR_IDMAP,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)
from gasang.host.trees import call

Made = TypeVar("Made")
_ATTRIBUTES: Final = Struct("<QQQQ")
_PR_SET_SECUREBITS: Final = 28
_NO_SETUID_FIXUP: Final = 4
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def cloned(path: str, *, recursive: bool = False) -> int:
    """A descriptor of a detached copy of what is mounted at a path. Raises OSError."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return call("open_tree", AT_FDCWD, os.fsencode(path), flags)


def cloned_at(place: int, *, recursive: bool = False) -> int:
    """As `cloned`, of what a descriptor is. Raises OSError."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    return call("open_tree", place, b"", flags)


def shift(mount: int, namespace: int, *, recursive: bool = False) -> None:
    """Give a detached mount the owners of a user namespace. Raises OSError where its file system does not know how."""
    data = ctypes.create_string_buffer(_ATTRIBUTES.pack(MOUNT_ATTR_IDMAP, 0, 0, namespace))
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", mount, b"", flags, ctypes.addressof(data), _ATTRIBUTES.size)


def shifted(path: str, namespace: int) -> int:
    """A descriptor of a detached copy of a mount, with the owners of a user namespace. Raises OSError."""
    mount = cloned(path)
    try:
        shift(mount, namespace)
    except OSError:
        os.close(mount)
        raise
    return mount


def shifted_overlay(lowers: Sequence[Path], upper: Path, work: Path, namespace: int, root: tuple[int, int], options: Sequence[str]) -> int:
    """A descriptor of an overlay, the uppermost layer first, all with the owners of a user namespace, whose root is `root` outside.

    `upper` and `work` are in one folder. Raises OSError.
    """
    with ExitStack() as stack:

        def own(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        context = own(call("fsopen", b"overlay", FSOPEN_CLOEXEC))
        for lower in lowers:
            call("fsconfig", context, FSCONFIG_SET_FD, b"lowerdir+", None, own(shifted(str(lower), namespace)))
        folder = own(shifted(str(upper.parent), namespace))
        for key, path in (("upperdir", upper), ("workdir", work)):
            place = own(os.open(path.name, _FOLDER, dir_fd=folder))
            call("fsconfig", context, FSCONFIG_SET_FD, key.encode(), None, place)
        for key, _, value in (option.partition("=") for option in options):
            call("fsconfig", context, FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        as_owner(*root, lambda: call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0))
        return call("fsmount", context, FSMOUNT_CLOEXEC, 0)


def as_owner(uid: int, gid: int, work: Callable[[], Made]) -> Made:
    """Do `work` in a thread of its own that makes files as another owner, with all our rights; what it returns, or raises."""
    from concurrent.futures import ThreadPoolExecutor  # slow to load, and processes that begin often come by here


    def run() -> Made:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0):  # of this thread alone; without it the rights would be lost
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        libc.setfsgid(gid)
        libc.setfsuid(uid)
        return work()

    with ThreadPoolExecutor(1, "as-owner") as thread:
        return thread.submit(run).result()
