"""A guest's side of a shared folder in a few lines: requests as Linux makes them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from gasang.storage.share import wire
from gasang.storage.share.server import ShareServer
from gasang.storage.share.wire import Opcode

ROOM = 1 << 20


class Entry(NamedTuple):
    """What the guest is told of a name."""

    node: int
    inode: int
    size: int
    mode: int
    links: int
    uid: int
    gid: int


class RefusedError(Exception):
    """An answer that is an error number."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class ShareClient:
    """Asks a server as the user `uid`."""

    def __init__(self, server: ShareServer, uid: int = 0) -> None:
        self.server = server
        self.uid = uid
        self.unique = 0
        self.init()

    def ask(self, opcode: int, node: int, body: bytes = b"", room: int = ROOM) -> bytes:
        """The body of the answer; raise RefusedError for an error."""
        self.unique += 2
        head = wire.IN.pack(wire.IN.size + len(body), opcode, self.unique, node, self.uid, self.uid, 1, 0)
        answer = self.server.answer(head + body, room)
        assert answer is not None
        length, error, unique = wire.OUT.unpack_from(answer)
        assert (length, unique) == (len(answer), self.unique)
        if error:
            assert length == wire.OUT.size
            raise RefusedError(-error)
        return answer[wire.OUT.size :]

    def tell(self, opcode: int, node: int, body: bytes) -> None:
        """A message that has no answer."""
        head = wire.IN.pack(wire.IN.size + len(body), opcode, 1, node, 0, 0, 1, 0)
        assert self.server.answer(head + body, ROOM) is None

    def init(self) -> tuple[int, ...]:
        """Begin."""
        return wire.INIT_OUT.unpack(self.ask(Opcode.INIT, 0, wire.INIT_IN.pack(7, 36, 1 << 20, 0xFFFF_FFFF)))

    def entry(self, data: bytes) -> Entry:
        """An entry of an answer."""
        node, _, _, _, _, _ = wire.ENTRY.unpack_from(data)
        return Entry(node, *_attributes(data[wire.ENTRY.size :]))

    def lookup(self, name: str, parent: int = 1) -> Entry:
        """What a name means."""
        return self.entry(self.ask(Opcode.LOOKUP, parent, _name(name)))

    def walk(self, path: str) -> Entry:
        """What a path of names means."""
        entry = Entry(1, 0, 0, 0, 0, 0, 0)
        for name in path.split("/"):
            entry = self.lookup(name, entry.node)
        return entry

    def status(self, node: int) -> Entry:
        """A node's attributes."""
        return Entry(node, *_attributes(self.ask(Opcode.GETATTR, node, wire.GETATTR_IN.pack(0, 0, 0))[wire.VALID.size :]))

    def open(self, node: int, flags: int = os.O_RDONLY) -> int:
        """A handle of a file."""
        return int(wire.OPENED.unpack(self.ask(Opcode.OPEN, node, wire.OPEN_IN.pack(flags, 0)))[0])

    def create(self, name: str, parent: int = 1, flags: int = os.O_RDWR, mode: int = 0o644) -> tuple[Entry, int]:
        """A new file and its handle."""
        data = self.ask(Opcode.CREATE, parent, wire.CREATE_IN.pack(flags | os.O_CREAT, stat_file(mode), 0, 0) + _name(name))
        return self.entry(data), int(wire.OPENED.unpack_from(data, wire.ENTRY.size + wire.ATTRIBUTES.size)[0])

    def read(self, handle: int, offset: int = 0, size: int = 4096) -> bytes:
        """A part of a file."""
        return self.ask(Opcode.READ, 1, wire.READ_IN.pack(handle, offset, size, 0, 0, 0, 0))

    def write(self, handle: int, data: bytes, offset: int = 0) -> int:
        """Store a part of a file."""
        body = wire.READ_IN.pack(handle, offset, len(data), 0, 0, 0, 0) + data
        return int(wire.WRITE_OUT.unpack(self.ask(Opcode.WRITE, 1, body))[0])

    def release(self, handle: int) -> None:
        """Close it."""
        self.ask(Opcode.RELEASE, 1, wire.RELEASE_IN.pack(handle, 0, 0, 0))

    def names(self, node: int = 1, size: int = 4096) -> list[str]:
        """The entries of a directory."""
        (handle, _, _) = wire.OPENED.unpack(self.ask(Opcode.OPENDIR, node, wire.OPEN_IN.pack(0, 0)))
        found, offset = [], 0
        while records := self.ask(Opcode.READDIR, node, wire.READ_IN.pack(handle, offset, size, 0, 0, 0, 0)):
            assert len(records) <= size
            found += [name for name, _ in entries(records)]
            offset = list(entries(records))[-1][1]
        self.ask(Opcode.RELEASEDIR, node, wire.RELEASE_IN.pack(handle, 0, 0, 0))
        return sorted(found)

    def mkdir(self, name: str, parent: int = 1, mode: int = 0o755) -> Entry:
        """A new directory."""
        return self.entry(self.ask(Opcode.MKDIR, parent, wire.MKDIR_IN.pack(mode, 0) + _name(name)))

    def symlink(self, name: str, target: str, parent: int = 1) -> Entry:
        """A new symbolic link."""
        return self.entry(self.ask(Opcode.SYMLINK, parent, _name(name) + _name(target)))

    def rename(self, old: str, new: str, parent: int = 1, target: int = 1, flags: int = 0) -> None:
        """Another place for an entry."""
        self.ask(Opcode.RENAME2, parent, wire.RENAME2_IN.pack(target, flags, 0) + _name(old) + _name(new))

    def unlink(self, name: str, parent: int = 1) -> None:
        """Take a name away."""
        self.ask(Opcode.UNLINK, parent, _name(name))

    def set(self, node: int, valid: int, **values: int) -> Entry:
        """Change attributes: `valid` says which, by bits; values are handle, size, atime, mtime, mode, uid, gid."""
        get = values.get
        body = wire.SETATTR_IN.pack(
            valid, 0, get("handle", 0), get("size", 0), 0, get("atime", 0), get("mtime", 0), 0, get("nanoseconds", 0), 0, 0, get("mode", 0),
            0, get("uid", 0), get("gid", 0), 0,
        )  # fmt: skip
        return Entry(node, *_attributes(self.ask(Opcode.SETATTR, node, body)[wire.VALID.size :]))


def entries(records: bytes) -> Iterator[tuple[str, int]]:
    """The (name, position behind it) of an answer to READDIR."""
    at = 0
    while at < len(records):
        _, behind, length, _ = wire.DIRENT.unpack_from(records, at)
        yield records[at + wire.DIRENT.size : at + wire.DIRENT.size + length].decode("utf-8", "surrogateescape"), behind
        at += wire.DIRENT.size + length + 7 & ~7


def stat_file(mode: int) -> int:
    """A regular file's mode."""
    return 0o100000 | mode


def _name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape") + b"\0"


def _attributes(data: bytes) -> tuple[int, ...]:
    inode, size, *_ = wire.ATTRIBUTES.unpack_from(data)
    mode, links, uid, gid = struct.unpack_from("<IIII", data, 60)
    return inode, size, mode, links, uid, gid
