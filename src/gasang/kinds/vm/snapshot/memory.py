"""A machine's memory into a layer of a snapshot, and from its layers back into a machine.

Copying is all that is done while the machine stands still. Digests are made of the file that was written, when it runs again; a chunk
that the parent has at the same place is given up then for the parent's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gasang.core.errors import BadInputError
from gasang.host.files import open_file, read_at, write_at
from gasang.host.holes import data_runs, punch_hole
from gasang.host.memory import FileRun, LazyMemory
from gasang.kinds.vm.snapshot.document import AGAIN
from gasang.kinds.vm.snapshot.index import CHUNK, Index, Place, digest_of, runs

_STEP = 1 << 20
_ZEROES = bytes(CHUNK)


@dataclass
class Copied:
    """What was copied: `seen` are the chunks that were looked at (None: all that there are), `kept` those that are not zero."""

    seen: set[int] | None
    kept: list[int] = field(default_factory=list)


def copy_memory(memory: LazyMemory, descriptor: int, written: Iterable[tuple[int, int]] | None) -> Copied:
    """Write the chunks that are not zero into an empty file, each at its place; the machine stands still.

    `written`: (offset, length) of those alone that may differ from the parent's; None: all. Raises OSError if the host fails.
    """
    os.ftruncate(descriptor, memory.size)
    numbers = _chunks(memory.content() if written is None else written)
    copied = Copied(None if written is None else set(numbers))
    for first, count in _neighbours(number for number in numbers if not memory.is_zero(number * CHUNK, _length(memory.size, number))):
        copied.kept += range(first, first + count)
        end = min((first + count) * CHUNK, memory.size)
        for offset in range(first * CHUNK, end, _STEP):
            write_at(descriptor, memory.view[offset : min(offset + _STEP, end)], offset)
    return copied


def chunk_count(size: int) -> int:
    """How many chunks a memory of `size` bytes has."""
    return -(-size // CHUNK)


def _length(size: int, number: int) -> int:
    return min(CHUNK, size - number * CHUNK)


def _chunks(pieces: Iterable[tuple[int, int]]) -> list[int]:
    found: set[int] = set()
    for offset, length in pieces:
        found.update(range(offset // CHUNK, -(-(offset + length) // CHUNK)))
    return sorted(found)


def _neighbours(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of numbers that follow each other."""
    first = count = 0
    for number in numbers:
        if count and number == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = number, 1
    if count:
        yield first, count


def settle(descriptor: int, size: int, copied: Copied, parent: Index) -> tuple[dict[int, bytes], set[int]]:
    """(digests of the chunks that stay in the file, numbers of those that the parent has); the latter's space is given back."""
    own: dict[int, bytes] = {}
    inherited: set[int] = set() if copied.seen is None else set(parent) - copied.seen
    for number in copied.kept:
        length = _length(size, number)
        digest = digest_of(read_at(descriptor, length, number * CHUNK))
        if number in parent and parent[number].digest == digest:
            inherited.add(number)
            punch_hole(descriptor, number * CHUNK, length)
        else:
            own[number] = digest
    return own, inherited


def gather(descriptor: int, size: int, index: Index, layers: Sequence[Path], numbers: Iterable[int]) -> dict[int, bytes]:
    """Copy chunks of other layers into a file, so that it needs them no more: their digests."""
    taken: dict[int, bytes] = {}
    with ExitStack() as cleanup:
        sources = [_opened(path, cleanup) for path in layers]
        for number in numbers:
            place = index[number]
            write_at(descriptor, read_at(sources[place.layer], _length(size, number), number * CHUNK), number * CHUNK)
            taken[number] = place.digest
    return taken


def _opened(path: Path, cleanup: ExitStack) -> int:
    descriptor = open_file(path, read_only=True)
    cleanup.callback(os.close, descriptor)
    return descriptor


def verify_memory(size: int, index: dict[int, Place], layers: Sequence[Path], subject: str) -> None:
    """Read every chunk and compare its digest; raise BadInputError, about `subject`, for one that is not what it was, OSError."""
    with ExitStack() as cleanup:
        sources = [_opened(path, cleanup) for path in layers]
        for source in sources:
            if os.fstat(source).st_size != size:
                raise BadInputError(subject, "its memory is cut off", AGAIN)
        for number, place in index.items():
            if digest_of(read_at(sources[place.layer], _length(size, number), number * CHUNK)) != place.digest:
                raise BadInputError(subject, f"its memory is damaged at {number * CHUNK:#x}", AGAIN)
        if sources:
            _check_holes(sources[-1], size, index, len(sources) - 1, subject)


def _check_holes(descriptor: int, size: int, index: dict[int, Place], layer: int, subject: str) -> None:
    """What the last layer has beside its chunks is zero: it may be mapped with them."""
    for number in _chunks(data_runs(descriptor, size)):
        if (number not in index or index[number].layer != layer) and read_at(descriptor, _length(size, number), number * CHUNK) != _ZEROES[
            : _length(size, number)
        ]:
            raise BadInputError(subject, f"its memory has at {number * CHUNK:#x} what does not belong there", AGAIN)


def map_memory(memory: LazyMemory, index: Index, layers: Sequence[Path]) -> None:
    """Give a machine's memory the snapshot's content, copied when it is written. Raises OSError, and what LazyMemory.map_files raises."""
    with ExitStack() as cleanup:
        sources = [_opened(path, cleanup) for path in layers]
        memory.map_files(
            [
                FileRun(sources[run.layer], run.first * CHUNK, min(run.end * CHUNK, memory.size) - run.first * CHUNK)
                for run in runs(index, len(layers) - 1)
            ]
        )
