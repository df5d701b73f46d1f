"""Disks in blocks of one size, each with a place in the file or none: what VDI, VHD, VHDX, Parallels and VMDK have in common.

A format says what the entries of its table mean and where a new block may lie; reading, writing, discarding and the order in which they
reach stable storage are here. A new block lies at the file's end, and the table that names it is written after it is stable: a power cut
leaves at worst a block that nobody names. Not locked: one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gasang.core.errors import BadInputError, StateError
from gasang.core.protocols import Block
from gasang.storage.bounds import check_range
from gasang.storage.images.image import Report, check_write
from gasang.storage.images.pieces import joined
from gasang.storage.images.store import Store, put, stretch_of
from gasang.storage.images.stretch import Stretch
from gasang.storage.images.tables import Table

ABSENT, ZERO = -1, -2
"""Instead of a place: nothing here (the parent's, or zeroes); zeroes whatever the parent has."""
_DIRTY_MAX = 128
_WIPE = 1 << 20


class Blocks:
    """An open image of `size` bytes in blocks of `block` bytes. Formats derive from it."""

    def __init__(self, store: Store, size: int, block: int, table: Table, parent: Block | None = None) -> None:
        self.store = store
        self.size = size
        self.block = block
        self.table = table
        self.parent = parent
        self.read_only = store.read_only
        self.count = -(-size // block)
        self._begun = False
        self._closed = False

    # What a format says ----------------------------------------------------------------------------------------------------------

    def decode(self, entry: int) -> int:
        """Where in the file the block of this entry begins, ABSENT or ZERO."""
        raise NotImplementedError

    def encode(self, place: int) -> int:
        """The entry of a block at `place`."""
        raise NotImplementedError

    def index(self, block: int) -> int:
        """Where in the table the entry of a block is."""
        return block

    def allot(self, most: int) -> tuple[int, int]:
        """The place of at most `most` new blocks in a row, at the file's end, and how many."""
        raise NotImplementedError

    def begin(self) -> None:
        """Called before the first write."""

    def keep(self) -> None:
        """Called when data and table are on stable storage, to write what else tells of them."""

    def end(self) -> None:
        """Called before the files are closed, if something was written."""

    # Reading -----------------------------------------------------------------------------------------------------------------------

    def place(self, block: int) -> int:
        """Where a block begins in the file, ABSENT or ZERO. Raises BadInputError where that is nowhere."""
        place = self.decode(self.table[self.index(block)])
        if place >= self.store.size():
            raise BadInputError(f"disk {self.store.name}", f"block {block} lies outside the file", "check the image")
        return place

    def places(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """(place, length) of the parts of a range, in order; those that follow one another in the file are one."""
        end = offset + length
        place = length = 0
        while offset < end:
            inside = offset % self.block
            step = min(self.block - inside, end - offset)
            found = self.place(offset // self.block)
            here = found + inside if found >= 0 else found
            if length and (here == place + length if here >= 0 and place >= 0 else here == place):
                length += step
            else:
                if length:
                    yield place, length
                place, length = here, step
            offset += step
        if length:
            yield place, length

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises OSError outside the disk or if the host fails, BadInputError where the image is damaged."""
        check_range(self.size, offset, length)
        parts = []
        for place, span in self.places(offset, length):
            parts.append(self.fetch(place, offset, span))
            offset += span
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stretches(self, offset: int, length: int) -> Iterator[tuple[Stretch | None, int]]:
        """Where the bytes of a range lie in the file; those of a parent, and zeroes, have to be read. Raises as `read` does."""
        check_range(self.size, offset, length)
        for place, span in self.places(offset, length):
            yield (self.lying(place, offset, span) if place >= 0 else None), span
            offset += span

    def lying(self, place: int, offset: int, length: int) -> Stretch | None:
        """As `fetch`, unread; None where the bytes do not lie there as they are."""
        return stretch_of(self.store, place, length)

    def fetch(self, place: int, offset: int, length: int) -> bytes:
        """The bytes of a part of the disk at `offset` that is in the file at `place`."""
        if place >= 0:
            return self.store.read(place, length)
        return self.below(offset, length) if place == ABSENT else bytes(length)

    def below(self, offset: int, length: int) -> bytes:
        """What the parent has there."""
        if self.parent is None:
            return bytes(length)
        have = min(length, max(0, self.parent.size - offset))
        return self.parent.read(offset, have).ljust(length, b"\0") if have else bytes(length)

    # Writing -----------------------------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk, if it is read-only or if the host fails."""
        self._write(offset, memoryview(data))

    def take(self, offset: int, stretch: Stretch) -> None:
        """As `write`, of what lies in another file."""
        self._write(offset, stretch)

    def _write(self, offset: int, view: memoryview | Stretch) -> None:
        check_write(self, offset, len(view))
        self._begin()
        done = 0
        for place, span in list(self.places(offset, len(view))):
            if place >= 0:
                put(self.store, place, view[done : done + span])
            else:
                self._write_new(offset + done, view[done : done + span], covered=place == ABSENT)
            done += span
        if len(self.table.dirty_pages) > _DIRTY_MAX:
            self.flush()

    def _write_new(self, offset: int, view: memoryview | Stretch, *, covered: bool) -> None:
        """Write to blocks that have no place yet."""
        while view:
            inside = offset % self.block
            place, count = self.allot(-(-(inside + len(view)) // self.block))
            done = min(count * self.block - inside, len(view))
            body = view[:done]
            start = offset - inside
            if self.parent is not None and covered:
                end = min(start + count * self.block, self.size)
                body = memoryview(b"".join((self.below(start, inside), bytes(body), self.below(offset + done, end - offset - done))))
                inside = 0
            put(self.store, place + inside, body)
            self.extend(place + count * self.block)
            for step in range(count):
                self.table[self.index(start // self.block + step)] = self.encode(place + step * self.block)
            offset += done
            view = view[done:]

    def extend(self, end: int) -> None:
        """Have the file be at least `end` bytes."""
        if self.store.size() < end:
            self.store.truncate(end)

    def discard(self, offset: int, length: int) -> None:
        """Have a range read as zeroes, as holes of the file where it has any. Raise OSError as `write` does."""
        check_write(self, offset, length)
        self._begin()
        for place, span in list(self.places(offset, length)):
            if place >= 0 and not self.store.punch(place, span):
                for at in range(0, span, _WIPE):
                    self.store.write(place + at, bytes(min(_WIPE, span - at)))
            elif place == ABSENT and self.parent is not None:
                for at in range(0, span, _WIPE):
                    self.write(offset + at, bytes(min(_WIPE, span - at)))
            offset += span

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.begin()

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        if not self._begun:
            return
        self.store.flush()
        if self.table.dirty_pages:
            self.table.write()
            self.store.flush()
            self.keep()
            self.store.flush()

    def close(self) -> None:
        """Keep what was written, and give the files back; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._begun:
                self.flush()
                self.end()
        finally:
            self.store.close()
            if self.parent is not None:
                self.parent.close()

    # Telling -----------------------------------------------------------------------------------------------------------------------

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        yield from joined(self._data())

    def _data(self) -> Iterator[tuple[int, int]]:
        for block in range(self.count):
            place = self.place(block)
            if place >= 0 or (place == ABSENT and self.parent is not None):
                offset = block * self.block
                yield offset, min(self.block, self.size - offset)

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {"block_size": self.block}

    def check(self, *, repair: bool = False) -> Report:
        """Each block lies in the file, and no two at one place; with `repair`, entries that are wrong are dropped.

        Raises StateError where it is to be repaired and is open for reading only.
        """
        if repair and self.read_only:
            raise StateError(f"disk {self.store.name}", "it is open for reading only", "open it for writing")
        report = Report()
        seen: dict[int, int] = {}
        for block in range(self.count):
            place = self.decode(self.table[self.index(block)])
            if place < 0:
                continue
            wrong = ""
            if place >= self.store.size() or not self.fits(place):
                wrong = "lies outside the file's blocks"
            elif place in seen:
                wrong = f"lies where block {seen[place]} does"
            else:
                seen[place] = block
            if wrong:
                report.error(f"block {block} {wrong}")
                if repair:
                    self._begin()
                    self.table[self.index(block)] = self.encode(ABSENT)
                    report.repaired += 1
        if repair:
            self.flush()
        return report

    def fits(self, place: int) -> bool:
        """Whether a block may begin at `place`."""
        return place > 0
