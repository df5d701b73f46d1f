"""Answers to a guest's requests about a shared folder: FUSE messages in, FUSE messages out.

One request at a time, from one thread at a time. Whatever the message, the answer is a message or an error number of Linux; nothing is
raised. What writes is refused here (EROFS) where the folder is shared for reading only: the guest's own mount options are its own.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gasang.core.protocols import State
from gasang.storage.share import attributes, files, names, wire
from gasang.storage.share.share import LARGEST, Share
from gasang.storage.share.wire import Header, Opcode, Reader, Refusal, answer

_PAGES: Final = LARGEST // 4096
_BACKGROUND: Final = 64
_ASYNC_READ, _ATOMIC_TRUNCATE, _BIG_WRITES, _AUTO_INVALIDATE, _PARALLEL_LOOKUPS, _MAX_PAGES = (1 << bit for bit in (0, 3, 5, 12, 18, 22))
_OFFERED: Final = _ASYNC_READ | _ATOMIC_TRUNCATE | _BIG_WRITES | _AUTO_INVALIDATE | _PARALLEL_LOOKUPS | _MAX_PAGES


class Operation(NamedTuple):
    """How a request is answered, given how many bytes of a body there is room for; what it is to the folder, and whether it is answered."""

    do: Callable[[Share, Header, Reader, int], bytes]
    writes: bool = False
    answered: bool = True


class ShareServer:
    """The server of the folder at `path`. To be closed when nobody asks it any more."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises what Folder raises."""
        self._share = Share(path, read_only=read_only)
        self.reset, self.renew, self.close = self._share.reset, self._share.renew, self._share.close

    def answer(self, message: bytes, room: int) -> bytes | None:
        """The answer, whose body has `room` bytes at most where the guest chooses its length; None where there is to be none."""
        if len(message) < wire.IN.size:
            return answer(0, error=errno.EINVAL)
        header = Header(*wire.IN.unpack_from(message))
        operation = _OPERATIONS.get(header.opcode)
        if operation is None:
            return answer(header.unique, error=errno.ENOSYS)
        made = self._done(operation, header, message, room)
        return made if operation.answered else None

    def _done(self, operation: Operation, header: Header, message: bytes, room: int) -> bytes:
        try:
            if header.length != len(message):
                raise Refusal(errno.EINVAL)
            if operation.writes and self._share.read_only:
                raise Refusal(errno.EROFS)
            reader = Reader(memoryview(message)[wire.IN.size :])
            return answer(header.unique, operation.do(self._share, header, reader, room))
        except Refusal as refusal:
            return answer(header.unique, error=refusal.number)
        except OSError as error:
            return answer(header.unique, error=error.errno or errno.EIO)

    def save(self) -> State:
        """What the guest knows, and has open."""
        return self._share.save()

    def load(self, state: State) -> None:
        """Become the saved one."""
        self._share.load(state)


def _init(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    major, minor, ahead, flags = reader.take(wire.INIT_IN)
    if major < wire.MAJOR or (major == wire.MAJOR and minor < wire.OLDEST_MINOR):
        raise Refusal(errno.EPROTO)
    share.reset()
    ours = (wire.MAJOR, wire.MINOR, min(ahead, LARGEST), flags & _OFFERED, _BACKGROUND, _BACKGROUND * 3 // 4, LARGEST, 1, _PAGES, 0)
    return wire.INIT_OUT.pack(*ours)


def _destroy(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    share.reset()
    return b""


def _interrupt(share: Share, header: Header, reader: Reader, room: int) -> bytes:
    """Nothing here waits for anybody: what is to be broken off is done soon."""
    return b""


_OPERATIONS: Final[Mapping[int, Operation]] = {
    Opcode.LOOKUP: Operation(names.lookup),
    Opcode.FORGET: Operation(names.forget, answered=False),
    Opcode.GETATTR: Operation(attributes.get_attributes),
    Opcode.SETATTR: Operation(attributes.set_attributes, writes=True),
    Opcode.READLINK: Operation(names.read_link),
    Opcode.SYMLINK: Operation(names.make_link, writes=True),
    Opcode.MKNOD: Operation(names.make_node, writes=True),
    Opcode.MKDIR: Operation(names.make_directory, writes=True),
    Opcode.UNLINK: Operation(names.remove_file, writes=True),
    Opcode.RMDIR: Operation(names.remove_directory, writes=True),
    Opcode.RENAME: Operation(names.rename, writes=True),
    Opcode.LINK: Operation(names.hard_link, writes=True),
    Opcode.OPEN: Operation(files.open_file),
    Opcode.READ: Operation(files.read),
    Opcode.WRITE: Operation(files.write, writes=True),
    Opcode.STATFS: Operation(attributes.file_system),
    Opcode.RELEASE: Operation(files.release),
    Opcode.FSYNC: Operation(files.sync),
    Opcode.FLUSH: Operation(files.flush),
    Opcode.INIT: Operation(_init),
    Opcode.OPENDIR: Operation(files.open_directory),
    Opcode.READDIR: Operation(files.read_directory),
    Opcode.RELEASEDIR: Operation(files.release),
    Opcode.FSYNCDIR: Operation(files.sync_directory),
    Opcode.CREATE: Operation(files.create, writes=True),
    Opcode.INTERRUPT: Operation(_interrupt, answered=False),
    Opcode.DESTROY: Operation(_destroy),
    Opcode.BATCH_FORGET: Operation(names.forget_many, answered=False),
    Opcode.FALLOCATE: Operation(files.allocate, writes=True),
    Opcode.RENAME2: Operation(names.rename_with_flags, writes=True),
    Opcode.LSEEK: Operation(files.seek),
}
"""Requests that are not here are answered with ENOSYS: the guest's kernel does without, or does it itself (locks, permissions)."""
