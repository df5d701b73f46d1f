"""Where the chunks of a snapshot's memory are, and what they must contain: pure functions from bytes to values and back.

A chunk is CHUNK bytes of RAM at a multiple of CHUNK; those that are all zero have no entry. A layer is a sparse file in which a chunk lies
at its offset in RAM. The index is MAGIC, the number of entries (u64), then for each, ascending: the chunk's number (u32), its layer's
number in the document (u16), and its SHA-256.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from gasang.core.errors import BadInputError
from gasang.kinds.vm.snapshot.document import AGAIN

CHUNK: Final = 64 << 10
MAGIC: Final = b"gasang chunks\0\0\1"
_COUNT = struct.Struct("<Q")
_ENTRY = struct.Struct("<IH32s")
LAYERS_MAX: Final = 64
"""Layers a snapshot may have: one that would have more becomes one layer."""
MAPS_MAX: Final = 8192
"""Pieces that memory is put together from at most; a process of a usual host can have 65530."""


class Place(NamedTuple):
    """Which layer has a chunk, and the chunk's digest."""

    layer: int
    digest: bytes


class Run(NamedTuple):
    """Chunks `first` to `end`, the latter excluded, all from one layer."""

    layer: int
    first: int
    end: int


Index = Mapping[int, Place]
"""By the chunk's number."""


def encode_index(index: Index) -> bytes:
    """The file's content."""
    entries = (_ENTRY.pack(number, *index[number]) for number in sorted(index))
    return MAGIC + _COUNT.pack(len(index)) + b"".join(entries)


def decode_index(content: bytes, chunks: int, layers: int, subject: str) -> dict[int, Place]:
    """The index of a memory of so many chunks and layers; raise BadInputError, about `subject`, if it cannot be one."""
    start = len(MAGIC) + _COUNT.size
    if len(content) < start or not content.startswith(MAGIC):
        raise BadInputError(subject, "its index of memory is no such index", AGAIN)
    (count,) = _COUNT.unpack_from(content, len(MAGIC))
    if len(content) != start + count * _ENTRY.size:
        raise BadInputError(subject, "its index of memory is cut off", AGAIN)
    index = {number: Place(layer, digest) for number, layer, digest in _ENTRY.iter_unpack(content[start:])}
    if len(index) != count or any(number >= chunks or place.layer >= layers for number, place in index.items()):
        raise BadInputError(subject, "its index of memory names chunks that cannot be", AGAIN)
    return index


def digest_of(content: bytes | memoryview) -> bytes:
    """A chunk's."""
    return hashlib.sha256(content).digest()


def layer_name(chunks: Iterable[tuple[int, bytes]]) -> str:
    """The digest a layer is named by: of its chunks' (number, digest), ascending."""
    total = hashlib.sha256()
    for number, digest in chunks:
        total.update(number.to_bytes(4, "little") + digest)
    return total.hexdigest()


def runs(index: Index, last: int, gap: int = 16) -> list[Run]:
    """The index as runs, neighbours joined, MAPS_MAX at most where that can be; `last` is the number of the last layer.

    A run of that one may have up to `gap` chunks within it that have no entry: they are holes in its file. Older layers may have
    there what was given up since.
    """
    found = _runs(index, last, gap)
    while len(found) > MAPS_MAX and gap <= 1 << 20:
        gap *= 4
        found = _runs(index, last, gap)
    return found


def _runs(index: Index, last: int, gap: int) -> list[Run]:
    found: list[Run] = []
    first = end = -1
    present = -1
    for number in sorted(index):
        layer = index[number].layer
        if layer != present or number - end > (gap if layer == last else 0):
            if present >= 0:
                found.append(Run(present, first, end))
            present, first = layer, number
        end = number + 1
    return [*found, Run(present, first, end)] if present >= 0 else found
