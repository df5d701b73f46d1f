"""The server's side of NBD without input and output: bytes that came in, requests and bytes to send out.

`Session` knows one connection: first it haggles about options (fixed newstyle), then it reads requests. What it does not know: sockets,
disks, time. Whatever a client sends leads to an answer or a ProtocolError; never is more kept than one request and its data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.protocol import Extent, ProtocolError

OPTIONS_MAX: Final = 256
"""A client that haggles longer wants something else."""
_CONTEXT: Final = 1
_HEAD: Final = wire.request_head.size
_data_head: Final = struct.Struct(">IHHQIQ").pack
_unpack_request: Final = wire.request_head.unpack_from
_KNOWN_FLAGS: Final = {
    wire.READ: wire.DF, wire.WRITE: 0, wire.FLUSH: 0, wire.TRIM: 0, wire.ZEROES: wire.NO_HOLE,
    wire.STATUS: wire.REQ_ONE,
}  # fmt: skip
"""The commands and the flags that each may have, FUA apart, which any may."""


@dataclass(frozen=True, slots=True)
class Export:
    """A disk that is offered. `preferred` is the size of requests that suits it, a power of two."""

    name: str
    size: int
    read_only: bool
    description: str = ""
    preferred: int = 4096


class Request(NamedTuple):
    """What a client wants. `cookie` names it in the reply; `data` is what is to be written."""

    command: int
    flags: int
    cookie: int
    offset: int
    length: int
    data: bytes | memoryview = b""


class Session:
    """One client's connection."""

    def __init__(self, exports: Mapping[str, Export]) -> None:
        self._exports = exports
        self._buffer = bytearray()
        self._greeted = False
        self._zeroes = True
        self._options = 0
        self._mapped = ""
        self.structured = False
        self.statuses = False
        """Whether the client may ask what is allocated."""
        self.export: Export | None = None
        """The disk that was chosen: from then on there are requests."""
        self.ended = False
        """Whether the client has said goodbye."""

    @staticmethod
    def greeting() -> bytes:
        """What is sent first."""
        return struct.pack(">QQH", wire.GREETING, wire.IHAVEOPT, wire.FIXED_NEWSTYLE | wire.NO_ZEROES)

    @property
    def waiting(self) -> bool:
        """Whether part of a message is here and its end is not."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Take what came; while there is haggling, what to send. Raises ProtocolError."""
        self._buffer += data
        answers = b""
        while self.export is None and not self.ended:
            answer = self._haggle()
            if answer is None:
                break
            answers += answer
        return answers

    # Haggling ----------------------------------------------------------------------------------------------------------------------

    def _take(self, length: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return taken

    def _haggle(self) -> bytes | None:
        """The answer to one message, None where more must come first."""
        if not self._greeted:
            if len(self._buffer) < 4:
                return None
            flags = int.from_bytes(self._take(4), "big")
            if flags & ~(wire.FIXED_NEWSTYLE | wire.NO_ZEROES) or not flags & wire.FIXED_NEWSTYLE:
                raise ProtocolError("the client does not speak fixed newstyle NBD")
            self._greeted = True
            self._zeroes = not flags & wire.NO_ZEROES
            return b""
        if len(self._buffer) < wire.option_head.size:
            return None
        magic, option, length = wire.option_head.unpack_from(self._buffer)
        if magic != wire.IHAVEOPT or length > wire.OPTION_MAX:
            raise ProtocolError("the client sends what is no option")
        if len(self._buffer) < wire.option_head.size + length:
            return None
        self._options += 1
        if self._options > OPTIONS_MAX:
            raise ProtocolError("the client haggles without end")
        data = self._take(wire.option_head.size + length)[wire.option_head.size :]
        return self._answer(option, data)

    def _answer(self, option: int, data: bytes) -> bytes:
        if option == wire.EXPORT_NAME:
            return self._chosen_by_name(data)
        act = {
            wire.ABORT: self._abort, wire.LIST: self._list, wire.INFO: self._about, wire.GO: self._about,
            wire.STRUCTURED_REPLY: self._structure, wire.LIST_META: self._contexts, wire.SET_META: self._contexts,
        }.get(option)  # fmt: skip
        if act is None:
            return _reply(option, wire.ERR_UNSUP, b"this option is not known")
        try:
            return act(option, data)
        except (struct.error, ProtocolError):
            return _reply(option, wire.ERR_INVALID, b"this option is malformed")

    def _chosen_by_name(self, data: bytes) -> bytes:
        export = self._exports.get(wire.text_of(data))
        if export is None:
            raise ProtocolError("the client asks for a disk that is not offered")
        self.export = export
        self.statuses = self.statuses and self._mapped == export.name
        return struct.pack(">QH", export.size, self._flags(export)) + (bytes(124) if self._zeroes else b"")

    def _abort(self, option: int, data: bytes) -> bytes:
        self.ended = True
        return _reply(option, wire.ACK)

    def _list(self, option: int, data: bytes) -> bytes:
        if data:
            raise ProtocolError("it has no data")
        listed = b""
        for export in self._exports.values():
            name = export.name.encode()
            listed += _reply(option, wire.SERVER, struct.pack(">I", len(name)) + name + export.description.encode())
        return listed + _reply(option, wire.ACK)

    def _about(self, option: int, data: bytes) -> bytes:
        """INFO and GO."""
        (length,) = struct.unpack_from(">I", data)
        name = wire.text_of(data[4 : 4 + length])
        (count,) = struct.unpack_from(">H", data, 4 + length)
        wanted = struct.unpack_from(f">{count}H", data, 6 + length)
        if len(data) != 6 + length + 2 * count:
            raise ProtocolError("it is longer than it says")
        export = self._exports.get(name)
        if export is None:
            return _reply(option, wire.ERR_UNKNOWN, f"there is no export {name!r}".encode())
        told = _reply(option, wire.ABOUT, struct.pack(">HQH", wire.INFO_EXPORT, export.size, self._flags(export)))
        told += _reply(option, wire.ABOUT, struct.pack(">HIII", wire.INFO_BLOCK_SIZE, 1, export.preferred, wire.DATA_MAX))
        if wire.INFO_DESCRIPTION in wanted and export.description:
            told += _reply(option, wire.ABOUT, struct.pack(">H", wire.INFO_DESCRIPTION) + export.description.encode())
        if option == wire.GO:
            self.export = export
            self.statuses = self.statuses and self._mapped == name
        return told + _reply(option, wire.ACK)

    def _flags(self, export: Export) -> int:
        always = wire.HAS_FLAGS | wire.SEND_FLUSH | wire.SEND_FUA | wire.MULTI_CONN
        return always | (wire.READ_ONLY if export.read_only else wire.SEND_TRIM | wire.SEND_ZEROES) | (wire.SEND_DF * self.structured)

    def _structure(self, option: int, data: bytes) -> bytes:
        if data:
            raise ProtocolError("it has no data")
        self.structured = True
        return _reply(option, wire.ACK)

    def _contexts(self, option: int, data: bytes) -> bytes:
        if not self.structured:
            raise ProtocolError("it needs structured replies")
        (length,) = struct.unpack_from(">I", data)
        name = wire.text_of(data[4 : 4 + length])
        (count,) = struct.unpack_from(">I", data, 4 + length)
        at = 8 + length
        queries = []
        for _ in range(min(count, len(data))):
            (size,) = struct.unpack_from(">I", data, at)
            if at + 4 + size > len(data):
                raise ProtocolError("a query is cut short")
            queries.append(wire.text_of(data[at + 4 : at + 4 + size]))
            at += 4 + size
        if len(queries) != count or at != len(data):
            raise ProtocolError("it is not as long as it says")
        if name not in self._exports:
            return _reply(option, wire.ERR_UNKNOWN, b"there is no such export")
        listing = option == wire.LIST_META
        found = wire.ALLOCATION in queries or (listing and (not queries or "base:" in queries))
        if not listing:
            self.statuses, self._mapped = found, name
        told = _reply(option, wire.META, struct.pack(">I", 0 if listing else _CONTEXT) + wire.ALLOCATION.encode()) if found else b""
        return told + _reply(option, wire.ACK)

    # Requests ----------------------------------------------------------------------------------------------------------------------

    def requests(self, came: bytes = b"") -> Iterator[Request]:
        """Those that are here whole once `came` has come, in order; all are to be taken. Raises ProtocolError."""
        if self._buffer:
            self._buffer += came
            if self.missing:
                return
            came = bytes(self._buffer)
            self._buffer.clear()
        at, have = 0, len(came)
        while have - at >= _HEAD and not self.ended:
            magic, flags, command, cookie, offset, length = _unpack_request(came, at)
            if magic != wire.REQUEST:
                raise ProtocolError("the client sends what is no request")
            end = at + _HEAD
            data: bytes | memoryview = b""
            if command == wire.WRITE:
                if length > wire.DATA_MAX:
                    raise ProtocolError("the client writes more at once than it may")
                end += length
                if end > have:
                    break
                data = memoryview(came)[at + _HEAD : end]
            at = end
            if command == wire.DISCONNECT:
                self.ended = True
                return
            yield Request(command, flags, cookie, offset, length, data)
        if at < have:
            self._buffer += memoryview(came)[at:]

    @property
    def missing(self) -> int:
        """Bytes that the request which has begun still lacks, as far as that is known: what is worth waiting for."""
        head = wire.request_head
        if len(self._buffer) < head.size:
            return head.size - len(self._buffer)
        _, _, command, _, _, length = head.unpack_from(self._buffer)
        return max(0, head.size + (min(length, wire.DATA_MAX) if command == wire.WRITE else 0) - len(self._buffer))

    def fault(self, request: Request) -> int:
        """The wire's error number of a request that makes no sense, 0 for one that does."""
        export = self.export
        assert export is not None
        if request.command == wire.READ and not request.flags and request.offset + request.length <= export.size:
            return 75 if request.length > wire.DATA_MAX else 0  # most are such
        known = _KNOWN_FLAGS.get(request.command)
        if known is None or request.flags & ~(known | wire.FUA):
            return 22
        writes = request.command in (wire.WRITE, wire.TRIM, wire.ZEROES)
        if writes and export.read_only:
            return 1
        if request.command == wire.FLUSH:
            return 0
        if request.offset + request.length > export.size:
            return 28 if writes else 22
        if request.command == wire.READ and request.length > wire.DATA_MAX:
            return 75
        return 22 if request.command == wire.STATUS and (not self.statuses or not request.length) else 0

    # Replies -----------------------------------------------------------------------------------------------------------------------

    def data_head(self, request: Request) -> bytes:
        """What stands before the data that was read."""
        if self.structured and request.length:
            return _data_head(wire.STRUCTURED, wire.DONE, wire.CHUNK_DATA, request.cookie, 8 + request.length, request.offset)
        if not self.structured:
            return wire.simple_head.pack(wire.SIMPLE, 0, request.cookie)
        return self.done(request)

    def done(self, request: Request) -> bytes:
        """Success without data."""
        if self.structured and request.command == wire.READ:
            return wire.chunk_head.pack(wire.STRUCTURED, wire.DONE, wire.CHUNK_NONE, request.cookie, 0)
        return wire.simple_head.pack(wire.SIMPLE, 0, request.cookie)

    def failed(self, request: Request, code: int, why: str = "") -> bytes:
        """An error of the wire's number `code`."""
        if not self.structured or request.command not in (wire.READ, wire.STATUS):
            return wire.simple_head.pack(wire.SIMPLE, code, request.cookie)
        text = why.encode()[: wire.NAME_MAX // 4]
        body = struct.pack(">IH", code, len(text)) + text
        return wire.chunk_head.pack(wire.STRUCTURED, wire.DONE, wire.CHUNK_ERROR, request.cookie, len(body)) + body

    def status(self, request: Request, extents: list[Extent]) -> bytes:
        """What is allocated: at least one extent, from the request's offset on."""
        told = extents[:1] if request.flags & wire.REQ_ONE else extents
        body = struct.pack(">I", _CONTEXT) + b"".join(struct.pack(">II", extent.length, extent.state) for extent in told)
        return wire.chunk_head.pack(wire.STRUCTURED, wire.DONE, wire.CHUNK_STATUS, request.cookie, len(body)) + body


def _reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return wire.reply_head.pack(wire.OPTION_REPLY, option, kind, len(data)) + data
