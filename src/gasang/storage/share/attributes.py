"""Requests about attributes: of a file's node, or of the whole file system."""

from __future__ import annotations

import errno
import os
import time
from typing import Final

from gasang.storage.share import wire
from gasang.storage.share.handles import Handle
from gasang.storage.share.nodes import Node
from gasang.storage.share.share import CACHED, NO_ID, Share
from gasang.storage.share.wire import Header, Reader, Refusal, position

_MODE, _UID, _GID, _SIZE, _ATIME, _MTIME, _WITH_HANDLE, _ATIME_NOW, _MTIME_NOW = (1 << bit for bit in range(9))
_WRITABLE: Final = os.O_WRONLY | os.O_RDWR
_FURTHEST: Final = 1 << 34
"""Seconds from 1970 beyond which no file system has times."""


def _attributes(share: Share, node: Node) -> bytes:
    handle = share.handles.of(node)
    status = os.fstat(handle.descriptor) if handle else share.folder.status(node)
    return wire.VALID.pack(CACHED, 0, 0) + share.attributes(status)


def get_attributes(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """GETATTR: what a node is."""
    reader.take(wire.GETATTR_IN)
    return _attributes(share, share.nodes.get(header.node))


def set_attributes(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """SETATTR: mode, owner, size and times, as many of them as are named."""
    valid, _, number, size, _, atime, mtime, _, atime_rest, mtime_rest, _, mode, _, uid, gid, _ = reader.take(wire.SETATTR_IN)
    node = share.nodes.get(header.node)
    handle = share.handles.get(number) if valid & _WITH_HANDLE else share.handles.of(node)
    if handle is not None and handle.node is not node:
        raise Refusal(errno.EBADF)
    if valid & _MODE:
        _set_mode(share, node, handle, mode)
    if valid & (_UID | _GID):
        _set_owner(share, node, handle, uid if valid & _UID else None, gid if valid & _GID else None)
    if valid & _SIZE:
        _set_size(share, node, handle, position(size))
    if valid & (_ATIME | _MTIME | _ATIME_NOW | _MTIME_NOW):
        wanted = (_time(valid, _ATIME, _ATIME_NOW, atime, atime_rest), _time(valid, _MTIME, _MTIME_NOW, mtime, mtime_rest))
        _set_times(share, node, handle, wanted)
    return _attributes(share, node)


def _set_mode(share: Share, node: Node, handle: Handle | None, mode: int) -> None:
    if handle is None:
        share.folder.set_mode(node, mode)
    else:
        os.fchmod(handle.descriptor, wire.harmless_mode(mode, os.fstat(handle.descriptor).st_mode))


def _set_owner(share: Share, node: Node, handle: Handle | None, uid: int | None, gid: int | None) -> None:
    if NO_ID in (uid, gid):
        raise Refusal(errno.EINVAL)
    whose = (-1 if uid is None else uid, -1 if gid is None else gid)
    if handle is None:
        share.folder.set_owner(node, *whose)
    else:
        os.fchown(handle.descriptor, *whose)


def _set_size(share: Share, node: Node, handle: Handle | None, size: int) -> None:
    if handle is not None and not handle.is_directory and handle.flags & _WRITABLE:
        os.ftruncate(handle.descriptor, size)
    else:
        share.folder.set_size(node, size)


def _set_times(share: Share, node: Node, handle: Handle | None, wanted: tuple[int | None, int | None]) -> None:
    status = os.fstat(handle.descriptor) if handle else share.folder.status(node)
    times = (status.st_atime_ns if wanted[0] is None else wanted[0], status.st_mtime_ns if wanted[1] is None else wanted[1])
    if handle is None:
        share.folder.set_times(node, times)
    else:
        os.utime(handle.descriptor, ns=times)


def file_system(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """STATFS: how much room there is."""
    space = share.folder.space()
    return wire.STATFS.pack(
        space.f_blocks, space.f_bfree, space.f_bavail, space.f_files, space.f_ffree, space.f_bsize, space.f_namemax, space.f_frsize, 0
    )


def _time(valid: int, given: int, now: int, seconds: int, nanoseconds: int) -> int | None:
    """Nanoseconds since 1970; None where it is to stay."""
    if valid & now:
        return time.time_ns()
    if not valid & given:
        return None
    signed = seconds - (1 << 64) if seconds >= 1 << 63 else seconds
    if abs(signed) > _FURTHEST or nanoseconds >= 10**9:
        raise Refusal(errno.EINVAL)
    return signed * 10**9 + nanoseconds
