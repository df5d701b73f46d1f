"""Members of an `ar` archive, the outer shell of a .deb (deb(5)): a magic line, then 60-byte headers, each with its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from gasang.core.errors import BadInputError

MAGIC = b"!<arch>\n"
HEADER = 60


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member lies in the file: `start` and `size` in bytes."""

    name: str
    start: int
    size: int


def members(stream: BinaryIO, subject: str) -> Iterator[Member]:
    """The members in order; raise BadInputError where the file is no archive, cut short, or a header lies about its size."""
    stream.seek(0, 2)
    end = stream.tell()
    stream.seek(0)
    if stream.read(len(MAGIC)) != MAGIC:
        raise _damaged(subject, "it does not start as a .deb does")
    position = len(MAGIC)
    while position < end:
        stream.seek(position)
        member = _parse(stream.read(HEADER), position + HEADER, subject)
        if member.start + member.size > end:
            raise _damaged(subject, f"its member {member.name} says {member.size} bytes, the file ends before that")
        yield member
        position = member.start + member.size + member.size % 2


def _parse(header: bytes, start: int, subject: str) -> Member:
    size = header[48:58].rstrip(b" ")
    if len(header) != HEADER or header[58:] != b"`\n" or not size.isdigit():
        raise _damaged(subject, f"the archive header at byte {start - HEADER} is damaged")
    name = header[:16].rstrip(b" ").removesuffix(b"/")
    return Member(name.decode("ascii", "backslashreplace"), start, int(size))


def _damaged(subject: str, cause: str) -> BadInputError:
    return BadInputError(subject, cause, "delete it and pull again")
