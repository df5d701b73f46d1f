"""A disk that is several images one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gasang.core.errors import BadInputError
from gasang.storage.bounds import check_range
from gasang.storage.images.image import Image, Report, check_write
from gasang.storage.images.pieces import joined
from gasang.storage.images.store import File
from gasang.storage.images.stretch import Located, Stretch, Taking


class Part(NamedTuple):
    """The disk's bytes from `begin` to `end` are those of `image`, from its `start` on."""

    begin: int
    end: int
    image: Image
    start: int = 0


def files_of(parts: Sequence[Part]) -> set[Path]:
    """The files of the host that parts lie in."""
    stores = [getattr(part.image, "store", None) for part in parts]
    return {Path(store.name) for store in stores if isinstance(store, File)}


class Concat:
    """A disk of `size` bytes. Raises BadInputError unless the parts cover it, in order. It owns them."""

    def __init__(self, name: str, size: int, parts: list[Part], facts: dict[str, Any]) -> None:
        at = 0
        for part in parts:
            if part.begin != at or part.end <= at or part.end - part.begin + part.start > part.image.size:
                raise BadInputError(f"disk {name}", "its extents do not fit one another", "restore it from a copy")
            at = part.end
        if at != size:
            raise BadInputError(f"disk {name}", "its extents do not make up the disk", "restore it from a copy")
        self.size = size
        self.parts = parts
        self.read_only = any(part.image.read_only for part in parts)
        self._begins = [part.begin for part in parts]
        self._facts = facts

    def _split(self, offset: int, length: int) -> Iterator[tuple[Part, int, int]]:
        end = offset + length
        number = bisect_right(self._begins, offset) - 1
        while offset < end:
            part = self.parts[number]
            step = min(end, part.end) - offset
            yield part, offset - part.begin + part.start, step
            offset += step
            number += 1

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise as the parts do."""
        check_range(self.size, offset, length)
        return b"".join(part.image.read(at, step) for part, at, step in self._split(offset, length))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise as the parts do."""
        check_write(self, offset, len(data))
        view = memoryview(data)
        for part, at, step in self._split(offset, len(view)):
            part.image.write(at, view[:step])
            view = view[step:]

    def take(self, offset: int, stretch: Stretch) -> None:
        """As `write`, of what lies in another file."""
        check_write(self, offset, len(stretch))
        for part, at, step in self._split(offset, len(stretch)):
            if isinstance(part.image, Taking):
                part.image.take(at, stretch[:step])
            else:
                part.image.write(at, bytes(stretch[:step]))
            stretch = stretch[step:]

    def stretches(self, offset: int, length: int) -> Iterator[tuple[Stretch | None, int]]:
        """Where the bytes of a range lie; raise as the parts do."""
        check_range(self.size, offset, length)
        for part, at, step in self._split(offset, length):
            if isinstance(part.image, Located):
                yield from part.image.stretches(at, step)
            else:
                yield None, step

    def discard(self, offset: int, length: int) -> None:
        """Have the range read as zeroes; raise as the parts do."""
        check_write(self, offset, length)
        for part, at, step in self._split(offset, length):
            part.image.discard(at, step)

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        for part in self.parts:
            part.image.flush()

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.image.close()

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        yield from joined(self._data())

    def _data(self) -> Iterator[tuple[int, int]]:
        for part in self.parts:
            last = part.end - part.begin + part.start
            for offset, length in part.image.data():
                begin, end = max(offset, part.start), min(offset + length, last)
                if begin < end:
                    yield begin - part.start + part.begin, end - begin

    def about(self) -> dict[str, Any]:
        """Facts of the format."""
        return {**self._facts, "extents": len(self.parts)}

    def check(self, *, repair: bool = False) -> Report:
        """All parts' reports as one."""
        whole = Report()
        for part in self.parts:
            found = part.image.check(repair=repair)
            for text in found.errors:
                whole.error(text)
            whole.error_count += found.error_count - len(found.errors)
            whole.leaks += found.leaks
            whole.repaired += found.repaired
        return whole
