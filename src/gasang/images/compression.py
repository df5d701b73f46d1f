"""Decompression of streams whose sender is not trusted: pieces in, pieces out, an upper limit, and an error for a stream cut short.

xz, gzip and Zstandard may hold several streams one after the other; all of them are read, as the formats ask for.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import zstandard

from gasang.core.errors import BadInputError

PIECE = 1 << 15
"""Bytes of compressed input worked on at a time: a piece of hostile input expands in steps, each checked against the limit."""


class Decompressor(Protocol):
    """What lzma, zlib and zstandard have in common."""

    @property
    def eof(self) -> bool:
        """Whether the stream's end was reached."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came behind the stream's end."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """The bytes that `data` adds to the result."""
        ...


_MAKERS: dict[str, Callable[[], Decompressor]] = {
    "xz": lzma.LZMADecompressor,
    "gz": lambda: zlib.decompressobj(31),
    "zst": lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(),
}
_FAULTS = (lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError)
_MAGICS = ((b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"))


def sniff(head: bytes) -> str:
    """The compression of data that starts with `head` (six bytes suffice): "xz", "gz", "zst", or "" where it is none of them."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), "")


def expand(pieces: Iterable[bytes], form: str, subject: str, limit: int) -> Iterator[bytes]:
    """The decompressed stream; `form` is "xz", "gz", "zst" or "" (stored).

    Raise BadInputError where the form is unknown, the data is damaged or ends early, or more than `limit` bytes come out.
    """
    if form and form not in _MAKERS:
        raise BadInputError(subject, f"its compression .{form} is not known", f"known are {', '.join(_MAKERS)}")
    stream = _expand(pieces, _MAKERS[form], subject) if form else iter(pieces)
    total = 0
    for data in stream:
        total += len(data)
        if total > limit:
            raise BadInputError(subject, f"it unpacks to more than {limit} bytes", "it is damaged or hostile: delete it and pull again")
        yield data


def expand_bytes(data: bytes, subject: str, limit: int, form: str | None = None) -> bytes:
    """`data` decompressed in one go; the form is recognised from its first bytes unless given."""
    chosen = sniff(data) if form is None else form
    return b"".join(expand(_cut(data), chosen, subject, limit))


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def _expand(pieces: Iterable[bytes], make: Callable[[], Decompressor], subject: str) -> Iterator[bytes]:
    worker = make()
    for piece in pieces:
        rest = piece
        while rest:
            if worker.eof:
                rest = rest.lstrip(b"\0")  # xz pads streams with zeroes (xz-file-format 2.2), tools pad gzip the same way
                if not rest:
                    break
                worker = make()
            data = _step(worker, rest, subject)
            rest = worker.unused_data if worker.eof else b""
            if data:
                yield data
    if not worker.eof:
        raise BadInputError(subject, "its compressed data ends early", "delete it and pull again")


def _step(worker: Decompressor, data: bytes, subject: str) -> bytes:
    try:
        return worker.decompress(data)
    except _FAULTS as fault:
        raise BadInputError(subject, f"its compressed data is damaged ({fault})", "delete it and pull again") from fault
