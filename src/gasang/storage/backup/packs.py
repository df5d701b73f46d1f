"""Packs: files of many chunks, each compressed by itself and named by its content. Once it has its name a pack never changes.

MAGIC, the chunks' Zstandard frames one after another, the table of them (digest, offset, bytes stored, bytes of content), and an end that
says where the table begins, how many entries it has and its digest. What reads one believes nothing that the digests do not confirm.
"""

from __future__ import annotations

import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from gasang.core.errors import BadInputError

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


class Place(NamedTuple):
    """Where a chunk is stored."""

    offset: int
    stored: int
    length: int


def digest_of(data: bytes | memoryview) -> bytes:
    """The name of a chunk: BLAKE2b (RFC 7693) of its content, 32 bytes."""
    return blake2b(data, digest_size=DIGEST).digest()


class PackWriter:
    """A new pack in the file `path`, which has another name until it is complete. `full` hears of the host's full disk (an OSError)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[bytes, Place] = {}
        self._part = path.with_suffix(".part")
        self._file = self._part.open("wb")
        self._file.write(MAGIC)
        self.size = len(MAGIC)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)

    def add(self, digest: bytes, data: bytes) -> None:
        """Store a chunk that is not there yet. Raises OSError."""
        stored = self._compressor.compress(data)
        self._file.write(stored)
        self.places[digest] = Place(self.size, len(stored), len(data))
        self.size += len(stored)

    def close(self) -> None:
        """Have it on stable storage, then by its name. Raises OSError."""
        table = b"".join(_ENTRY.pack(digest, *place) for digest, place in self.places.items())
        self._file.write(table + _END.pack(self.size, len(self.places), digest_of(table), MAGIC))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)

    def give_up(self) -> None:
        """Take it away."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def read_table(path: Path) -> dict[bytes, Place]:
    """What a pack has. Raises BadInputError for one that is damaged, OSError."""
    damaged = _damaged(path)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < len(MAGIC) + _END.size:
            raise damaged
        file.seek(size - _END.size)
        begin, count, digest, magic = _END.unpack(file.read(_END.size))
        if magic != MAGIC or count > _MOST_ENTRIES or begin + count * _ENTRY.size + _END.size != size:
            raise damaged
        file.seek(begin)
        table = file.read(count * _ENTRY.size)
    if digest_of(table) != digest:
        raise damaged
    found = {}
    for name, offset, stored, length in _ENTRY.iter_unpack(table):
        if offset < len(MAGIC) or offset + stored > begin or length > CHUNK:
            raise damaged
        found[name] = Place(offset, stored, length)
    return found


def read_chunk(descriptor: int, place: Place, digest: bytes, path: Path) -> bytes:
    """The content of a chunk, which is what its name says. Raises BadInputError, OSError."""
    stored = os.pread(descriptor, place.stored, place.offset)
    try:
        data = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompress(stored, max_output_size=CHUNK) if stored else b""
    except zstandard.ZstdError as error:
        raise _damaged(path) from error
    if len(data) != place.length or digest_of(data) != digest:
        raise _damaged(path)
    return data


def _damaged(path: Path) -> BadInputError:
    return BadInputError(f"backup pack {path}", "it is damaged", "gasang backup verify tells which backups need it")
