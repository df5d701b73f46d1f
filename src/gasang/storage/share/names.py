"""Requests about names: found, made, taken away, renamed."""

from __future__ import annotations

import errno
import os
import stat

from gasang.storage.share import wire
from gasang.storage.share.share import Share, owner
from gasang.storage.share.wire import Header, Reader, Refusal

_NOREPLACE, _EXCHANGE = 1, 2


def lookup(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """LOOKUP: what a name means in a directory."""
    return share.entry(share.nodes.get(header.node), reader.name())


def forget(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """FORGET: the guest lets go of a node."""
    (count,) = reader.take(wire.FORGET_IN)
    share.nodes.forget(header.node, count)
    return b""


def forget_many(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """BATCH_FORGET: as `forget`, of many nodes."""
    count, _ = reader.take(wire.BATCH_FORGET_IN)
    for number, times in wire.FORGET_ONE.iter_unpack(reader.bytes(count * wire.FORGET_ONE.size)):
        share.nodes.forget(number, times)
    return b""


def read_link(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """READLINK: what a symbolic link says."""
    return share.folder.link_target(share.nodes.get(header.node)).encode("utf-8", "surrogateescape")[:room]


def make_link(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """SYMLINK: a new symbolic link."""
    parent, name, target = share.nodes.get(header.node), reader.name(), reader.text(wire.LONGEST_PATH)
    share.folder.make_link(parent, name, target, owner(header))
    return share.entry(parent, name)


def make_node(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """MKNOD: a new file that is not opened, a fifo or a socket."""
    mode, _, _, _ = reader.take(wire.MKNOD_IN)
    parent, name = share.nodes.get(header.node), reader.name()
    if stat.S_IFMT(mode) in (0, stat.S_IFREG):
        os.close(share.folder.make_file(parent, name, os.O_WRONLY, mode, owner(header)))
    else:
        share.folder.make_special(parent, name, mode, owner(header))
    return share.entry(parent, name)


def make_directory(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """MKDIR: a new directory."""
    mode, _ = reader.take(wire.MKDIR_IN)
    parent, name = share.nodes.get(header.node), reader.name()
    share.folder.make_directory(parent, name, mode, owner(header))
    return share.entry(parent, name)


def remove_file(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """UNLINK: a name that is no directory's goes."""
    _gone(share, share.folder.remove(share.nodes.get(header.node), reader.name(), directory=False))
    return b""


def remove_directory(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """RMDIR: an empty directory goes."""
    _gone(share, share.folder.remove(share.nodes.get(header.node), reader.name(), directory=True))
    return b""


def _gone(share: Share, status: os.stat_result) -> None:
    """A name is no more; if it was the last, its inode's number may soon be another file's."""
    node = share.nodes.known((status.st_dev, status.st_ino))
    if node is not None and (status.st_nlink <= 1 or stat.S_ISDIR(status.st_mode)):
        share.nodes.gone(node)


def rename(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """RENAME: an entry gets another place; what was there is gone."""
    (target,) = reader.take(wire.RENAME_IN)
    return _renamed(share, header, target, 0, reader)


def rename_with_flags(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """RENAME2: as `rename`, on conditions."""
    target, flags, _ = reader.take(wire.RENAME2_IN)
    if flags not in (0, _NOREPLACE, _EXCHANGE):
        raise Refusal(errno.EINVAL)
    return _renamed(share, header, target, flags, reader)


def _renamed(share: Share, header: Header, target: int, flags: int, reader: Reader) -> bytes:
    old = share.nodes.get(header.node), reader.name()
    new = share.nodes.get(target), reader.name()
    moved, other = share.folder.rename(old, new, flags)
    if other is not None and (moved.st_dev, moved.st_ino) == (other.st_dev, other.st_ino):
        return b""  # two names of one file: both stay (rename(2))
    node = share.nodes.known((moved.st_dev, moved.st_ino))
    if node is not None:
        share.nodes.moved(node, *new)
    if other is not None and flags == _EXCHANGE:
        node = share.nodes.known((other.st_dev, other.st_ino))
        if node is not None:
            share.nodes.moved(node, *old)
    elif other is not None:
        _gone(share, other)
    return b""


def hard_link(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """LINK: another name for a file."""
    (number,) = reader.take(wire.LINK_IN)
    parent, name = share.nodes.get(header.node), reader.name()
    share.folder.hard_link(share.nodes.get(number), parent, name)
    return share.entry(parent, name)
