"""Disks and streams into a repository and back.

A disk is kept in chunks of CHUNK bytes by their place; of one that was kept before only what may have changed is read. A stream is cut
where its writer says, so that a file in an archive is the same chunks wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from gasang.core.errors import BadInputError
from gasang.storage.backup.manifest import DISK, PAGE, STREAM, Object
from gasang.storage.backup.packs import CHUNK
from gasang.storage.backup.repository import HOLE, Repository, refs_of
from gasang.storage.images.pieces import is_zero

_READ: Final = 1 << 20
Told = Callable[[int], None]
"""Told how many bytes more are done."""


class Readable(Protocol):
    """A disk to read."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises OSError, GasangError."""
        ...


class Writable(Protocol):
    """A disk to write."""

    size: int

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`. Raises OSError, GasangError."""
        ...


def keep_disk(
    repository: Repository, name: str, disk: Readable, runs: Iterable[tuple[int, int]], source: dict[str, Any],
    base: Object | None = None, told: Told = lambda done: None,
) -> tuple[Object, int]:  # fmt: skip
    """Store a disk; what it is now, and how many bytes were read of it.

    `runs` are where it may be other than what `base` says (of zeroes, without a base), in order and not overlapping. Raises GasangError,
    OSError.
    """
    count = -(-disk.size // CHUNK)
    pages = list(base.pages) if base is not None else []
    known = -(-base.size // CHUNK) if base is not None else 0
    wanted = -(-count // PAGE)
    fresh: dict[str, list[bytes]] = {}
    del pages[wanted:]
    if base is not None and base.size != disk.size:  # its last page and its last chunk have another length now
        edge = min(base.size, disk.size) // CHUNK * CHUNK
        runs = sorted([*runs, (edge, max(0, min(CHUNK, disk.size - edge)))])
    if pages and known != count:
        refs = refs_of(repository.get(bytes.fromhex(pages[-1])))[: min(known, count) - (len(pages) - 1) * PAGE]
        room = min(PAGE, count - (len(pages) - 1) * PAGE)
        pages[-1] = repository.put(b"".join(refs).ljust(room * len(HOLE), b"\0")).hex()
    while len(pages) < wanted:
        refs = [HOLE] * min(PAGE, count - len(pages) * PAGE)
        page = repository.put(b"".join(refs)).hex()
        fresh[page] = refs  # it need not be read again
        pages.append(page)
    read = 0
    number, refs = -1, []
    for chunk, data in _chunks(disk, runs):
        read += len(data)
        told(len(data))
        if chunk // PAGE != number:
            if number >= 0:
                pages[number] = repository.put(b"".join(refs)).hex()
            number = chunk // PAGE
            found = fresh.get(pages[number])
            refs = list(found) if found else refs_of(repository.get(bytes.fromhex(pages[number])))
        refs[chunk % PAGE] = HOLE if is_zero(data) else repository.put(data)
    if number >= 0:
        pages[number] = repository.put(b"".join(refs)).hex()
    return Object(name, DISK, disk.size, tuple(pages), source), read


def _chunks(disk: Readable, runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the chunks that runs touch; read in larger pieces where they follow one another."""
    done = 0
    for offset, length in runs:
        begin = max(offset // CHUNK * CHUNK, done)
        end = min(-(-(offset + length) // CHUNK) * CHUNK, disk.size)
        for at in range(begin, end, _READ):
            data = disk.read(at, min(_READ, end - at))
            for inner in range(0, len(data), CHUNK):
                yield (at + inner) // CHUNK, data[inner : inner + CHUNK]
        done = max(done, end)


def chunks_of(repository: Repository, kept: Object) -> Iterator[tuple[int, bytes]]:
    """(offset, content) of what an object has, in order, a disk's zeroes left out. Raises BadInputError where it is damaged."""
    at = 0
    for page in kept.pages:
        for digest in refs_of(repository.get(bytes.fromhex(page))):
            if kept.kind == DISK:
                if digest != HOLE:
                    data = repository.get(digest)
                    if len(data) != min(CHUNK, kept.size - at):
                        raise BadInputError(f"object {kept.name[:80]}", "a chunk has another length", "use another backup")
                    yield at, data
                at += CHUNK
                continue
            data = repository.get(digest)
            yield at, data
            at += len(data)
    if kept.kind == STREAM and at != kept.size:
        raise BadInputError(f"object {kept.name[:80]}", "it is shorter than it was", "use another backup")


def restore_disk(repository: Repository, kept: Object, disk: Writable, told: Told = lambda done: None) -> None:
    """Write a kept disk to one that is all zeroes. Raises BadInputError for one that does not fit or is damaged, OSError."""
    if kept.kind != DISK or disk.size < kept.size:
        raise BadInputError(f"object {kept.name[:80]}", "it does not fit its disk", "use another backup")
    for offset, data in chunks_of(repository, kept):
        disk.write(offset, data)
        told(len(data))


class StreamWriter:
    """A stream into a repository; `cut` ends a chunk early. `finish` gives the object."""

    def __init__(self, repository: Repository, name: str, told: Told = lambda done: None) -> None:
        self._repository = repository
        self._name = name
        self._told = told
        self._held = bytearray()
        self._refs: list[bytes] = []
        self._pages: list[str] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        """Take more of it."""
        self._held += data
        self.size += len(data)
        self._told(len(data))
        while len(self._held) >= CHUNK:
            self._put(bytes(self._held[:CHUNK]))
            del self._held[:CHUNK]
        return len(data)

    def cut(self) -> None:
        """What follows begins a chunk."""
        if self._held:
            self._put(bytes(self._held))
            self._held.clear()

    def _put(self, data: bytes) -> None:
        self._refs.append(self._repository.put(data))
        if len(self._refs) == PAGE:
            self._turn()

    def _turn(self) -> None:
        self._pages.append(self._repository.put(b"".join(self._refs)).hex())
        self._refs.clear()

    def finish(self, source: dict[str, Any]) -> Object:
        """All of it."""
        self.cut()
        if self._refs:
            self._turn()
        return Object(self._name, STREAM, self.size, tuple(self._pages), source)


def verify(repository: Repository, kept: Object, told: Told = lambda done: None) -> None:
    """Read all of an object. Raises BadInputError where it is damaged or something of it is missing."""
    for _, data in chunks_of(repository, kept):
        told(len(data))
