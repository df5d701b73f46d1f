"""A layer's compressed stream to its tar stream, in pieces of bounded size, for senders that are not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import zstandard
from isal import isal_zlib

from gasang.core.errors import BadInputError
from gasang.images.compression import sniff

PIECE = 1 << 19
"""Bytes of the longest piece that comes out."""
Source = Callable[[], bytes]
"""Gives the next compressed bytes; none at the end."""
_WINDOW = 1 << 27
_FAULT = cast("type[Exception]", isal_zlib.error)


def inflate(source: Source, subject: str) -> Iterator[bytes]:
    """The tar stream, whatever it is compressed with: gzip, Zstandard or nothing. Raises BadInputError where it is damaged or cut short."""
    head = source()
    while 0 < len(head) < 6:
        more = source()
        if not more:
            break
        head += more
    form = sniff(head)
    again = _Again(head, source)
    if form == "gz":
        return _gunzip(again.next, subject)
    if form == "zst":
        return _unzstd(again, subject)
    if form:
        raise BadInputError(subject, f"its compression .{form} is none that layers have", "pull another image")
    return iter(again.next, b"")


class _Again:
    """A source whose first piece was looked at already; also a file as zstandard reads one."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source
        self._rest = b""

    def next(self) -> bytes:
        """The next piece."""
        head, self._head = self._head, b""
        return head or self._source()

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        data = self._rest or self.next()
        self._rest = data[size:]
        return data[:size]


def _damaged(subject: str, fault: object) -> BadInputError:
    return BadInputError(subject, f"its compressed data is damaged ({fault})", "pull it again")


def _gunzip(source: Source, subject: str) -> Iterator[bytes]:
    worker = isal_zlib.decompressobj(31)
    while piece := source():
        while piece:
            if worker.eof:
                piece = piece.lstrip(b"\0")  # padding behind the stream; anything else is one more stream (RFC 1952, 2.2)
                if not piece:
                    break
                worker = isal_zlib.decompressobj(31)
            try:
                data = worker.decompress(piece, PIECE)
            except _FAULT as fault:
                raise _damaged(subject, fault) from fault
            piece = worker.unused_data if worker.eof else worker.unconsumed_tail
            if data:
                yield data
    try:
        rest = b"" if worker.eof else worker.flush(PIECE)
    except _FAULT as fault:
        raise _damaged(subject, fault) from fault
    if rest:
        yield rest
    if not worker.eof:
        raise _damaged(subject, "it ends early")


def _unzstd(source: _Again, subject: str) -> Iterator[bytes]:
    worker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    reader = worker.stream_reader(cast("BinaryIO", source), read_size=1 << 17, read_across_frames=True)
    try:
        while data := reader.read(PIECE):
            yield data
    except zstandard.ZstdError as fault:
        raise _damaged(subject, fault) from fault
