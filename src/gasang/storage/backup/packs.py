"""Packs: files of many chunks, each compressed by itself and named by its content. Once it has its name a pack never changes.

MAGIC, the chunks' Zstandard frames one after another, the table of them (digest, offset, bytes stored, bytes of content), and an end that
says where the table begins, how many entries it has and its digest. What reads one believes nothing that the digests do not confirm.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final, NamedTuple

import zstandard

from gasang.core.errors import BadInputError
from gasang.storage.backup.store import Draft, Entry, Store

MAGIC: Final = b"gasangP1"
CHUNK: Final = 1 << 16
"""Bytes of the largest chunk: the granularity in which a disk is kept and compared; a cluster of a qcow2 layer."""
DIGEST: Final = 32
FULL: Final = 64 << 20
"""Bytes after which the next chunk goes to another pack."""
_ENTRY: Final = struct.Struct("<32sQII")
_END: Final = struct.Struct("<QI32s8s")
_LEVEL: Final = 3
_MOST_ENTRIES: Final = 1 << 24
_TAIL: Final = 128 << 10
"""Bytes of a pack's end that are read at once: the whole table of most."""


class Place(NamedTuple):
    """Where a chunk is stored."""

    offset: int
    stored: int
    length: int


def digest_of(data: bytes | memoryview) -> bytes:
    """The name of a chunk: BLAKE2b (RFC 7693) of its content, 32 bytes."""
    return blake2b(data, digest_size=DIGEST).digest()


class PackWriter:
    """A new pack, `name` in its store once it is closed."""

    def __init__(self, draft: Draft, name: str) -> None:
        self.name = name
        self.places: dict[bytes, Place] = {}
        self._draft = draft
        self._draft.file.write(MAGIC)
        self.size = len(MAGIC)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)

    def add(self, digest: bytes, data: bytes) -> None:
        """Store a chunk that is not there yet. Raises OSError."""
        stored = self._compressor.compress(data)
        self._draft.file.write(stored)
        self.places[digest] = Place(self.size, len(stored), len(data))
        self.size += len(stored)

    def close(self) -> None:
        """Have it by its name, on stable storage. Raises OSError, GasangError; it is gone then."""
        table = b"".join(_ENTRY.pack(digest, *place) for digest, place in self.places.items())
        try:
            self._draft.file.write(table + _END.pack(self.size, len(self.places), digest_of(table), MAGIC))
            self._draft.publish()
        except BaseException:
            self._draft.give_up()
            raise

    def give_up(self) -> None:
        """Take it away."""
        self._draft.give_up()


def read_table(store: Store, pack: Entry) -> dict[bytes, Place]:
    """What a pack has. Raises BadInputError for one that is damaged, GasangError."""
    damaged = _damaged(store, pack.name)
    if pack.size < len(MAGIC) + _END.size:
        raise damaged
    tail = store.read(pack.name, max(0, pack.size - _TAIL), min(_TAIL, pack.size))
    begin, count, digest, magic = _END.unpack(tail[-_END.size :])
    if magic != MAGIC or count > _MOST_ENTRIES or begin + count * _ENTRY.size + _END.size != pack.size:
        raise damaged
    length = count * _ENTRY.size
    if length + _END.size <= len(tail):
        table = tail[len(tail) - _END.size - length : len(tail) - _END.size]
    else:
        table = store.read(pack.name, begin, length)
    if digest_of(table) != digest:
        raise damaged
    found = {}
    for name, offset, stored, size in _ENTRY.iter_unpack(table):
        if offset < len(MAGIC) or offset + stored > begin or size > CHUNK:
            raise damaged
        found[name] = Place(offset, stored, size)
    return found


def read_chunk(store: Store, pack: str, place: Place, digest: bytes) -> bytes:
    """The content of a chunk, which is what its name says. Raises BadInputError, GasangError."""
    stored = store.read(pack, place.offset, place.stored)
    try:
        data = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompress(stored, max_output_size=CHUNK) if stored else b""
    except zstandard.ZstdError as error:
        raise _damaged(store, pack) from error
    if len(data) != place.length or digest_of(data) != digest:
        raise _damaged(store, pack)
    return data


def _damaged(store: Store, pack: str) -> BadInputError:
    return BadInputError(f"{store.subject}, {pack}", "it is damaged", "gasang backup verify tells which backups need it")
