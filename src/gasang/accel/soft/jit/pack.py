"""How compiled regions lie in a file: entries one behind the other, each believed only when its digest holds.

    entry:  mark, bytes that follow, last use │ digest of the rest, under the file's key │ numbers, pages, entries, places, seconds │ image
                                              │                                          └─ all that must be known before it is read

A page is known by its stamp, as compiled code compares it, and by a digest of its content that nobody can find a second page for. The last
use is outside the digest: it is written in place, and decides no more than what is dropped first.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from gasang.accel.soft.jit.messages import FARTHEST, Answer
from gasang.cpus.riscv64.state import PAGE_SIZE

MOST_PAGES: Final = 16
"""Pages of a region that is kept."""
MOST_BYTES: Final = 1 << 22
_MARK: Final = b"rgn1"
_HEAD: Final = struct.Struct("<4sII")
_USED_AT: Final = 8
_DIGEST: Final = 32
_NUMBERS: Final = struct.Struct("<HHHHd")
_PAGE: Final = struct.Struct(f"<hQ{_DIGEST}s")
MULTI: Final = 1
"""A region's kind: for a machine of several harts."""
BRIEF: Final = 2
"""Compiled with little effort."""
LOOKED_AT: Final = _HEAD.size + _DIGEST + _NUMBERS.size + MOST_PAGES * _PAGE.size
"""Bytes of an entry by which it is found."""
USED: Final = struct.Struct("<I")


class KnownPage(NamedTuple):
    """A page of a region: its distance from the region's page 0, its stamp, and the digest of its content."""

    delta: int
    stamp: int
    digest: bytes


class Entry(NamedTuple):
    """What is known of an entry before its digest is looked at: it may be wrong."""

    offset: int
    size: int
    used: int
    """When it was used last, in minutes since 1970."""
    multi: bool
    """Whether it is for a machine of several harts."""
    pages: tuple[KnownPage, ...]
    steps: int
    brief: bool = False

    @property
    def used_at(self) -> int:
        """Where in the file the last use stands."""
        return self.offset + _USED_AT


def stamp_of(content: bytes) -> int:
    """What compiled code knows a page's content by: never 0."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little") | 1


def content_digest(content: bytes) -> bytes:
    """What a page's content is known by on disk."""
    return blake2b(content, digest_size=_DIGEST).digest()


def pack_entry(key: bytes, answer: Answer, contents: Mapping[int, bytes], *, multi: bool, used: int) -> bytes:
    """An entry. Raises ValueError for a region that is too large to be kept."""
    if len(answer.stamps) > MOST_PAGES:
        raise ValueError(f"a region on {len(answer.stamps)} pages")
    body = b"".join([
        _NUMBERS.pack(len(answer.stamps), len(answer.entries), len(answer.places), multi + BRIEF * answer.brief, answer.seconds),
        *(_PAGE.pack(delta, stamp, content_digest(contents[delta])) for delta, stamp in answer.stamps.items()),
        struct.pack(f"<{len(answer.entries) + len(answer.places)}i", *answer.entries, *answer.places),
        answer.image,
    ])  # fmt: skip
    if len(body) > MOST_BYTES:
        raise ValueError(f"a region of {len(body)} bytes")
    return _HEAD.pack(_MARK, _DIGEST + len(body), used) + _sealed(key, body) + body


def look(raw: bytes, offset: int) -> Entry:
    """The entry that begins with `raw` (LOOKED_AT bytes, or as many as the file has) at `offset`. Raises ValueError if it is none."""
    if len(raw) < _HEAD.size + _DIGEST + _NUMBERS.size:
        raise ValueError("an entry cut off")
    mark, length, used = _HEAD.unpack_from(raw)
    pages, _, places, kind, _ = _NUMBERS.unpack_from(raw, _HEAD.size + _DIGEST)
    start = _HEAD.size + _DIGEST + _NUMBERS.size
    if mark != _MARK or length > MOST_BYTES + _DIGEST or not 0 < pages <= MOST_PAGES or start + pages * _PAGE.size > len(raw):
        raise ValueError("no entry")
    known = tuple(KnownPage(*_PAGE.unpack_from(raw, start + index * _PAGE.size)) for index in range(pages))
    return Entry(offset, _HEAD.size + length, used, bool(kind & MULTI), known, places, bool(kind & BRIEF))


def read_entry(key: bytes, raw: bytes) -> Answer:
    """The region of an entry. Raises ValueError for one that is damaged, or of another key."""
    entry = look(raw[:LOOKED_AT], 0)
    body = raw[_HEAD.size + _DIGEST :]
    if len(raw) != entry.size or raw[_HEAD.size : _HEAD.size + _DIGEST] != _sealed(key, body):
        raise ValueError("a damaged entry")
    pages, entries, places, kind, seconds = _NUMBERS.unpack_from(body)
    start = _NUMBERS.size + pages * _PAGE.size
    end = start + 4 * (entries + places)
    if end > len(body):
        raise ValueError("an entry without its places")
    numbers = struct.unpack(f"<{entries + places}i", body[start:end])
    stamps = {page.delta: page.stamp for page in entry.pages}
    if any(abs(delta) > FARTHEST for delta in stamps) or any(place // PAGE_SIZE not in stamps for place in numbers):
        raise ValueError("an entry that reaches out of itself")
    return Answer(0, numbers[:entries], stamps, numbers[entries:], seconds, body[end:], brief=bool(kind & BRIEF))


def _sealed(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=_DIGEST).digest()
