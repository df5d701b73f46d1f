"""Tar archives read for what is in them, entry by entry, without a file being made: for archives of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gasang.core.errors import BadInputError
from gasang.images.layers.header_fields import BLOCK, checksum, decode_number
from gasang.images.layers.pax import Extension, parse_extension

FILE, HARD_LINK, SYMBOLIC_LINK, FOLDER = b"0", b"1", b"2", b"5"
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENSION_MAX = 1 << 20


@dataclass(frozen=True)
class Member:
    """An entry. `content` must be taken before the next entry is asked for; what is not taken is skipped."""

    name: str
    kind: bytes
    link: str
    size: int
    content: Iterator[bytes]


class ArchiveReader:
    """Reads a stream of pieces. Raises BadInputError where it is damaged or ends early."""

    def __init__(self, pieces: Iterator[bytes], subject: str) -> None:
        self._pieces = pieces
        self._subject = subject
        self._rest = b""

    def members(self) -> Iterator[Member]:
        """The entries in their order."""
        extension = Extension()
        while (header := self._header()) is not None:
            kind = header[156:157].replace(b"\0", FILE)
            size = decode_number(header[124:136], self._subject)
            if kind in (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK):
                raw = self._extension(size)
                extension = self._extended(extension, kind, raw)
                continue
            size = extension.size if extension.size is not None else size
            if size < 0:
                raise self._damaged("a size in it is negative")
            content = self._content(size if kind == FILE else 0)
            yield Member(_text(extension.path, _name(header)), kind, _text(extension.link, header[157:257]), size, content)
            for _ in content:
                pass
            extension = Extension()

    def _extended(self, extension: Extension, kind: bytes, raw: bytes) -> Extension:
        if kind == _PAX:
            return parse_extension(raw, self._subject)
        if kind == _LONG_NAME:
            extension.path = raw.rstrip(b"\0")
        elif kind == _LONG_LINK:
            extension.link = raw.rstrip(b"\0")
        return extension

    def _header(self) -> bytes | None:
        header = self._exactly(BLOCK, optional=True)
        if not header or not header.strip(b"\0"):
            return None
        if decode_number(header[148:156], self._subject) != checksum(header):
            raise self._damaged("a header in it is damaged")
        return header

    def _extension(self, size: int) -> bytes:
        if not 0 <= size <= _EXTENSION_MAX:
            raise self._damaged("an extended header in it is too long")
        raw = self._exactly(size)
        self._exactly(-size % BLOCK)
        return raw

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = self._some(left)
            left -= len(piece)
            yield piece
        self._exactly(-size % BLOCK)

    def _some(self, limit: int) -> bytes:
        data = self._rest or next(self._pieces, b"")
        if not data:
            raise self._damaged("it ends early")
        self._rest = data[limit:]
        return data[:limit]

    def _exactly(self, count: int, *, optional: bool = False) -> bytes:
        parts = []
        left = count
        while left:
            if optional and left == count and not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    return b""
            parts.append(self._some(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def _damaged(self, cause: str) -> BadInputError:
        return BadInputError(self._subject, cause, "make or fetch it again")


def _name(header: bytes) -> bytes:
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    name = header[:100].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _text(told: bytes | None, field: bytes) -> str:
    raw = field.partition(b"\0")[0] if told is None else told
    return raw.decode("utf-8", "surrogateescape")
