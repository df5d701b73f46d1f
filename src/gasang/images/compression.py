"""Decompression of streams whose sender is not trusted: pieces in, pieces out, an upper limit, and an error for a stream cut short.

xz, gzip and Zstandard may hold several streams one after the other; all of them are read, as the formats ask for. A few bytes may
expand to gigabytes, so no step yields more than some MiB, and the limit is checked after each.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gasang.core.errors import BadInputError

if TYPE_CHECKING:  # they take milliseconds to load, which the start of a machine has not: its initial RAM disk is of one form at most
    from lzma import LZMADecompressor

    from zstandard import ZstdDecompressionObj

PIECE = 1 << 15
"""Bytes of compressed input worked on at a time."""
STEP = 1 << 20
"""Bytes that one step of xz or gzip yields at most."""
ZSTD_SLICE = 256
"""Bytes of Zstandard given to one step: at four bytes for a block of 128 KiB (RFC 8878, 3.1.1.2) they yield 8 MiB at most."""
_XZ_MEMORY = 256 << 20
"""What the largest preset asks for, a dictionary of 64 MiB, four times; the format would allow 4 GiB."""

Steps = Generator[bytes, None, bytes]
"""What `data` adds to the result, in steps; returns what is left of it behind the stream's end."""


def _xz(worker: LZMADecompressor, data: bytes) -> Steps:
    yield worker.decompress(data, STEP)
    while not worker.eof and not worker.needs_input:
        yield worker.decompress(b"", STEP)
    return worker.unused_data if worker.eof else b""


def _gz(worker: Any, data: bytes) -> Steps:
    made = STEP
    while not worker.eof and (data or made == STEP):  # a full step may have left some of its output inside
        result = worker.decompress(data, STEP)
        made, data = len(result), worker.unconsumed_tail
        yield result
    unused: bytes = worker.unused_data
    return unused


def _zst(worker: ZstdDecompressionObj, data: bytes) -> Steps:
    for start in range(0, len(data), ZSTD_SLICE):
        yield worker.decompress(data[start : start + ZSTD_SLICE])
        if worker.eof:
            return worker.unused_data + data[start + ZSTD_SLICE :]
    return b""


def _load_xz() -> tuple[Callable[[], Any], type[Exception]]:
    from lzma import FORMAT_AUTO, LZMADecompressor, LZMAError

    return lambda: LZMADecompressor(FORMAT_AUTO, _XZ_MEMORY), LZMAError


def _load_zst() -> tuple[Callable[[], Any], type[Exception]]:
    from zstandard import ZstdDecompressor, ZstdError

    return lambda: ZstdDecompressor(max_window_size=1 << 27).decompressobj(), ZstdError


class _Form(NamedTuple):
    """How to have what makes a worker, and the error it raises over damaged data; the steps it works in."""

    load: Callable[[], tuple[Callable[[], Any], type[Exception]]]
    steps: Callable[[Any, bytes], Steps]


_FORMS: dict[str, _Form] = {
    "xz": _Form(_load_xz, _xz),
    "gz": _Form(lambda: (lambda: zlib.decompressobj(31), zlib.error), _gz),
    "zst": _Form(_load_zst, _zst),
}
_MAGICS = ((b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"))


def sniff(head: bytes) -> str:
    """The compression of data that starts with `head` (six bytes suffice): "xz", "gz", "zst", or "" where it is none of them."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), "")


def expand(pieces: Iterable[bytes], form: str, subject: str, limit: int) -> Iterator[bytes]:
    """The decompressed stream; `form` is "xz", "gz", "zst" or "" (stored).

    Raise BadInputError where the form is unknown, the data is damaged or ends early, or more than `limit` bytes come out.
    """
    if form and form not in _FORMS:
        raise BadInputError(subject, f"its compression .{form} is not known", f"known are {', '.join(_FORMS)}")
    stream = _expand(pieces, _FORMS[form], subject) if form else iter(pieces)
    total = 0
    for data in stream:
        total += len(data)
        if total > limit:
            raise BadInputError(subject, f"it unpacks to more than {limit} bytes", "it is damaged or hostile: delete it and pull again")
        if data:
            yield data


def expand_bytes(data: bytes, subject: str, limit: int, form: str | None = None) -> bytes:
    """`data` decompressed in one go; the form is recognised from its first bytes unless given."""
    chosen = sniff(data) if form is None else form
    return b"".join(expand(_cut(data), chosen, subject, limit))


def expand_first(data: bytes, form: str, subject: str) -> Steps:
    """The first stream of `data`, in steps; returns what stands behind it. Raise BadInputError where it is damaged or ends early."""
    load, steps = _FORMS[form]
    make, damage = load()
    worker = make()
    try:
        for start in range(0, len(data), PIECE):
            rest = yield from steps(worker, data[start : start + PIECE])
            if worker.eof:
                return rest + data[start + PIECE :]
    except (damage, EOFError) as fault:
        raise _damaged(subject, fault) from fault
    raise _short(subject)


def _damaged(subject: str, fault: Exception) -> BadInputError:
    return BadInputError(subject, f"its compressed data is damaged ({fault})", "delete it and pull again")


def _short(subject: str) -> BadInputError:
    return BadInputError(subject, "its compressed data ends early", "delete it and pull again")


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def _expand(pieces: Iterable[bytes], form: _Form, subject: str) -> Iterator[bytes]:
    make, damage = form.load()
    worker = make()
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if worker.eof:
                    rest = rest.lstrip(b"\0")  # xz pads streams with zeroes (xz-file-format 2.2), tools pad gzip the same way
                    if not rest:
                        break
                    worker = make()
                rest = yield from form.steps(worker, rest)
    except (damage, EOFError) as fault:
        raise _damaged(subject, fault) from fault
    if not worker.eof:
        raise _short(subject)
