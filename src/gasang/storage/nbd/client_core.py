"""The client's side of NBD without input and output: choosing a disk, asking, understanding replies. A server may be hostile.

The protocol's talks are generators: they yield how many bytes they need and are sent them, or yield bytes to be sent. A thin shell
drives them; tests do so with a list.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.protocol import Extent, ProtocolError

Talk = Generator[int | bytes, bytes, None]
"""Yields a number: so many bytes are wanted; yields bytes: they are to be sent."""
_REPLIES_MAX: Final = 1024
_CHUNKS_MAX: Final = 1 << 16
_SIZE_MAX: Final = 1 << 56


class RefusedError(Exception):
    """The server does not give us the disk: what it says."""


@dataclass(slots=True)
class Link:
    """What has been agreed upon with a server."""

    size: int = 0
    flags: int = 0
    structured: bool = False
    context: int | None = None
    """The number of `base:allocation`, where the server tells it."""
    minimum: int = 1
    maximum: int = wire.DATA_MAX

    @property
    def read_only(self) -> bool:
        """Whether the server refuses writes."""
        return bool(self.flags & wire.READ_ONLY)


def greet(link: Link, name: str, *, structured: bool = True) -> Talk:
    """Choose the disk `name`; `link` is filled. Raises RefusedError, ProtocolError."""
    magic, second, flags = struct.unpack(">QQH", (yield 18))
    if magic != wire.GREETING or second != wire.IHAVEOPT:
        raise ProtocolError("it is no NBD server, or one of the oldest")
    if not flags & wire.FIXED_NEWSTYLE:
        raise ProtocolError("it does not speak fixed newstyle NBD")
    yield (wire.FIXED_NEWSTYLE | flags & wire.NO_ZEROES).to_bytes(4, "big")
    if structured:
        yield from _structure(link)
    if link.structured:
        yield from _map(link, name)
    encoded = name.encode()
    yield _option(wire.GO, struct.pack(">I", len(encoded)) + encoded + struct.pack(">HH", 1, wire.INFO_BLOCK_SIZE))
    for _ in range(_REPLIES_MAX):
        kind, data = yield from _answer(wire.GO)
        if kind == wire.ACK:
            break
        if kind == wire.ABOUT:
            _learn(link, data)
        elif kind == wire.ERR_UNSUP:
            yield from _by_name(link, encoded, zeroes=not flags & wire.NO_ZEROES)
            break
        else:
            raise _refusal(kind, data)
    else:
        raise ProtocolError("it haggles without end")
    if not link.flags & wire.HAS_FLAGS:
        raise ProtocolError("it does not tell what it can")
    if link.size > _SIZE_MAX:
        raise ProtocolError(f"it says that the disk has {link.size} bytes")


def _structure(link: Link) -> Talk:
    yield _option(wire.STRUCTURED_REPLY)
    kind, _ = yield from _answer(wire.STRUCTURED_REPLY)
    link.structured = kind == wire.ACK


def _map(link: Link, name: str) -> Talk:
    encoded, query = name.encode(), wire.ALLOCATION.encode()
    yield _option(wire.SET_META, struct.pack(">I", len(encoded)) + encoded + struct.pack(">II", 1, len(query)) + query)
    for _ in range(_REPLIES_MAX):
        kind, data = yield from _answer(wire.SET_META)
        if kind != wire.META:
            return
        if len(data) > 4 and data[4:] == query:
            link.context = int.from_bytes(data[:4], "big")
    raise ProtocolError("it haggles without end")


def _by_name(link: Link, encoded: bytes, *, zeroes: bool) -> Talk:
    """The older way, in which a server that has no such disk only hangs up."""
    yield _option(wire.EXPORT_NAME, encoded)
    link.size, link.flags = struct.unpack(">QH", (yield 10))
    if zeroes:
        yield 124


def _learn(link: Link, data: bytes) -> None:
    kind = int.from_bytes(data[:2], "big")
    try:
        if kind == wire.INFO_EXPORT:
            _, link.size, link.flags = struct.unpack(">HQH", data)
        elif kind == wire.INFO_BLOCK_SIZE:
            _, link.minimum, _, maximum = struct.unpack(">HIII", data)
            if link.minimum & (link.minimum - 1) or not 1 <= link.minimum <= 1 << 16 or maximum < link.minimum:
                raise ProtocolError("it tells sizes of requests that make no sense")
            link.maximum = min(maximum, wire.DATA_MAX) // link.minimum * link.minimum
    except struct.error as error:
        raise ProtocolError("what it tells of the disk is malformed") from error


def _refusal(kind: int, data: bytes) -> Exception:
    if not kind & wire.REFUSED:
        return ProtocolError("it answers what was not asked")
    says = data.decode(errors="replace")[:200]
    if kind == wire.ERR_TLS:
        return RefusedError("it wants TLS, which is not known here")
    if kind == wire.ERR_UNKNOWN:
        return RefusedError("it has no disk of that name" + (f" ({says})" if says else ""))
    return RefusedError(f"it refuses: {says or hex(kind)}")


def _option(option: int, data: bytes = b"") -> bytes:
    return wire.option_head.pack(wire.IHAVEOPT, option, len(data)) + data


def _answer(option: int) -> Generator[int | bytes, bytes, tuple[int, bytes]]:
    magic, told, kind, length = wire.reply_head.unpack((yield wire.reply_head.size))
    if magic != wire.OPTION_REPLY or told != option or length > wire.OPTION_MAX:
        raise ProtocolError("it answers what was not asked")
    return kind, (yield length) if length else b""


@dataclass(slots=True)
class Question:
    """A request, and what has been answered: the data of a read, the parts of a status, or the wire's error number."""

    command: int
    cookie: int
    offset: int = 0
    length: int = 0
    flags: int = 0
    data: bytes | memoryview = b""
    found: bytes = b""
    extents: list[Extent] | None = None
    error: int = 0
    why: str = ""


def ask(link: Link, question: Question) -> Talk:
    """Send a request and fill in its answer. Raises ProtocolError."""
    head = wire.request_head.pack(wire.REQUEST, question.flags, question.command, question.cookie, question.offset, question.length)
    yield head + question.data if len(question.data) < 1 << 16 else head
    if len(question.data) >= 1 << 16:
        yield bytes(question.data)
    magic = yield 4
    if magic == wire.SIMPLE.to_bytes(4, "big"):
        yield from _simple(link, question)
    elif magic == wire.STRUCTURED.to_bytes(4, "big") and link.structured:
        yield from _structured(link, question)
    else:
        raise ProtocolError("it sends what is no reply")


def _simple(link: Link, question: Question) -> Talk:
    error, cookie = struct.unpack(">IQ", (yield 12))
    if cookie != question.cookie:
        raise ProtocolError("it answers a request that was not sent")
    question.error = error
    if question.command in (wire.READ, wire.STATUS) and link.structured and not error:
        raise ProtocolError("its reply is not structured, as was agreed")
    if question.command == wire.READ and not error:
        question.found = yield question.length


def _structured(link: Link, question: Question) -> Talk:
    pieces: dict[int, bytes] = {}
    size = 0
    for number in range(_CHUNKS_MAX):
        if number and (yield 4) != wire.STRUCTURED.to_bytes(4, "big"):
            raise ProtocolError("it sends what is no reply")
        flags, kind, cookie, length = struct.unpack(">HHQI", (yield 16))
        if cookie != question.cookie or length > question.length + (64 << 10):
            raise ProtocolError("it answers a request that was not sent")
        body = (yield length) if length else b""
        try:
            size += _chunk(link, question, kind, body, pieces)
        except struct.error as error:
            raise ProtocolError("a part of its reply is malformed") from error
        if size > question.length:
            raise ProtocolError("it sends more than was asked for")
        if flags & wire.DONE:
            break
    else:
        raise ProtocolError("its reply has no end")
    if question.command == wire.READ and not question.error:
        question.found = _assembled(question, pieces)
    if question.command == wire.STATUS and not question.error and not question.extents:
        raise ProtocolError("it does not tell what was asked for")


def _chunk(link: Link, question: Question, kind: int, body: bytes, pieces: dict[int, bytes]) -> int:
    """Take in a chunk: how many bytes of the disk it brings."""
    if kind & 0x8000:
        error, said = struct.unpack_from(">IH", body)
        question.error = error or 5
        question.why = body[6 : 6 + said].decode(errors="replace")[:200]
        return 0
    if kind == wire.CHUNK_NONE:
        return 0
    if kind in (wire.CHUNK_DATA, wire.CHUNK_HOLE) and question.command == wire.READ:
        offset: int = struct.unpack_from(">Q", body)[0]
        length: int = len(body) - 8 if kind == wire.CHUNK_DATA else struct.unpack(">I", body[8:])[0]
        if offset < question.offset or offset + length > question.offset + question.length or not length or offset in pieces:
            raise ProtocolError("it sends another part of the disk than was asked for")
        pieces[offset] = body[8:] if kind == wire.CHUNK_DATA else bytes(length)
        return length
    if kind == wire.CHUNK_STATUS and question.command == wire.STATUS:
        if len(body) < 12 or len(body) % 8 != 4:
            raise ProtocolError("it does not tell what was asked for")
        if int.from_bytes(body[:4], "big") == link.context and question.extents is None:
            question.extents = [Extent(*pair) for pair in struct.iter_unpack(">II", body[4:])]
            if not all(extent.length for extent in question.extents):
                raise ProtocolError("it tells of parts of the disk that are empty")
        return 0
    raise ProtocolError("it sends what is no reply to this request")


def _assembled(question: Question, pieces: dict[int, bytes]) -> bytes:
    at = question.offset
    for offset in sorted(pieces):
        if offset != at:
            raise ProtocolError("parts of its reply overlap or are missing")
        at += len(pieces[offset])
    if at != question.offset + question.length:
        raise ProtocolError("parts of its reply are missing")
    return pieces[question.offset] if len(pieces) == 1 else b"".join(pieces[offset] for offset in sorted(pieces))
