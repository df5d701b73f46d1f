"""Requests about open files and directories."""

from __future__ import annotations

import errno
import os
from typing import Final

from gasang.host.trees import call, directory_records
from gasang.storage.share import wire
from gasang.storage.share.handles import Handle
from gasang.storage.share.nodes import Node
from gasang.storage.share.share import LARGEST, Share, owner
from gasang.storage.share.wire import Header, Reader, Refusal, position

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_TRUNC
"""Those of a guest's open flags that mean something here; they have the same numbers on every guest and host."""
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
_FALLOCATE_MODES: Final = frozenset({0x00, 0x01, 0x03, 0x10, 0x11})
"""Plain, keeping the size, a hole, zeroes, zeroes keeping the size (fallocate(2)): those that touch nothing behind the range."""
_SEEK_DATA, _SEEK_HOLE = 3, 4
_LISTED: Final = 64 << 10


def open_file(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """OPEN: a regular file."""
    flags, _ = reader.take(wire.OPEN_IN)
    return _opened_file(share, share.nodes.get(header.node), flags & _OPEN_FLAGS)


def _opened_file(share: Share, node: Node, flags: int) -> bytes:
    if flags & _WRITES and share.read_only:
        raise Refusal(errno.EROFS)
    share.handles.check_room()
    descriptor = share.folder.open_file(node, flags)
    return _opening(share, Handle(node, descriptor, flags, is_directory=False))


def _opening(share: Share, handle: Handle) -> bytes:
    return wire.OPENED.pack(share.handles.add(handle), 0, 0)


def create(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """CREATE: a file, new if there is none, opened."""
    flags, mode, _, _ = reader.take(wire.CREATE_IN)
    parent, name = share.nodes.get(header.node), reader.name()
    share.handles.check_room()
    try:
        made = share.folder.make_file(parent, name, flags & _OPEN_FLAGS, mode, owner(header))
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        entry = share.entry(parent, name)
        return entry + _opened_file(share, _node_of(share, entry), flags & _OPEN_FLAGS)
    try:
        entry = share.entry(parent, name)
    except (OSError, Refusal):
        os.close(made)
        raise
    return entry + _opening(share, Handle(_node_of(share, entry), made, flags & _OPEN_FLAGS, is_directory=False))


def _node_of(share: Share, entry: bytes) -> Node:
    return share.nodes.get(wire.ENTRY.unpack_from(entry)[0])


def read(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """READ: what a file has at an offset; less at its end."""
    number, offset, size, *_ = reader.take(wire.READ_IN)
    return os.pread(share.handles.get(number).descriptor, min(size, room, LARGEST), position(offset))


def write(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """WRITE: so many bytes at an offset."""
    number, offset, size, *_ = reader.take(wire.READ_IN)
    done = os.pwrite(share.handles.get(number).descriptor, reader.bytes(size), position(offset))
    return wire.WRITE_OUT.pack(done, 0)


def flush(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """FLUSH: a descriptor of the guest's was closed; what was written is with the host's kernel already."""
    return b""


def sync(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """FSYNC: return once what was written is on stable storage."""
    return _synced(share, reader, directory=False)


def sync_directory(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """FSYNCDIR: as `sync`, of a directory."""
    return _synced(share, reader, directory=True)


def _synced(share: Share, reader: Reader, *, directory: bool) -> bytes:
    number, flags, _ = reader.take(wire.FSYNC_IN)
    (os.fdatasync if flags & 1 else os.fsync)(share.handles.get(number, directory=directory).descriptor)
    return b""


def release(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """RELEASE and RELEASEDIR: an open file or directory is closed."""
    number, *_ = reader.take(wire.RELEASE_IN)
    share.handles.close(number)
    return b""


def allocate(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """FALLOCATE: room for a range, or a hole, or zeroes."""
    number, offset, length, mode, _ = reader.take(wire.FALLOCATE_IN)
    if mode not in _FALLOCATE_MODES:
        raise Refusal(errno.EOPNOTSUPP)
    call("fallocate", share.handles.get(number).descriptor, mode, position(offset), position(length))
    return b""


def seek(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """LSEEK: where the next data is, or the next hole."""
    number, offset, whence, _ = reader.take(wire.LSEEK_IN)
    if whence not in (_SEEK_DATA, _SEEK_HOLE):
        raise Refusal(errno.EINVAL)
    return wire.LSEEK_OUT.pack(os.lseek(share.handles.get(number).descriptor, position(offset), whence))


def open_directory(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """OPENDIR: a directory for reading its entries."""
    node = share.nodes.get(header.node)
    share.handles.check_room()
    return _opening(share, Handle(node, share.folder.open_directory(node), 0, is_directory=True))


def read_directory(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """READDIR: the entries from a position on, as many as have room."""
    number, offset, size, *_ = reader.take(wire.READ_IN)
    directory = share.handles.get(number, directory=True).descriptor
    os.lseek(directory, position(offset), os.SEEK_SET)
    most = min(size, room, _LISTED)
    records = directory_records(directory, most)
    made, last = wire.directory_entries(records, most)
    if records and last is None:
        raise Refusal(errno.EINVAL)
    return made
