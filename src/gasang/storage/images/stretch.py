"""Bytes that lie in a file of the host and that nobody has read: copying them from file to file is the host's work, in one copy or none.

An image that knows where its disk's bytes lie tells so (`Located`); one that can have bytes put into its file from another file takes them
(`Taking`). Everything else reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from gasang.host.files import read_some, will_need
from gasang.host.holes import data_runs
from gasang.storage.images.pieces import is_zero, joined

_GLANCE = 64
"""Bytes at the begin of a grain that mostly tell that it is not all zeroes."""
_NOTHING = bytes(_GLANCE)


class Described(Protocol):
    """A file of the host, as a stretch of it needs it."""

    @property
    def descriptor(self) -> int:
        """Its descriptor."""
        ...

    def size(self) -> int:
        """Bytes up to its end."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end. Raises OSError."""
        ...


class Stretch:
    """`length` bytes of a file from `place` on, cut as a memoryview is. `bytes()` of it reads them, and raises OSError."""

    __slots__ = ("file", "length", "place")

    def __init__(self, file: Described, place: int, length: int) -> None:
        self.file = file
        self.place = place
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: slice) -> Stretch:
        start, stop, _ = part.indices(self.length)
        return Stretch(self.file, self.place + start, max(0, stop - start))

    def __bytes__(self) -> bytes:
        return self.file.read(self.place, self.length)

    def there(self, grain: int) -> Iterator[tuple[int, int]]:
        """(start, length) of the parts, in steps of `grain`, that the host has something of; the last one ends with it. Raises OSError."""
        descriptor, place = self.file.descriptor, self.place
        done = 0
        for begin, length in data_runs(descriptor, min(place + self.length, self.file.size()), place):
            will_need(descriptor, begin, length)
            first = max((begin - place) // grain * grain, done)
            done = min(-(-(begin - place + length) // grain) * grain, self.length)
            if done > first:
                yield first, done - first

    def present(self, grain: int) -> Iterator[tuple[int, int]]:
        """(start, length) of the parts, in steps of `grain`, that are not all zeroes; those that touch are one. Raises OSError."""
        yield from joined(self._present(grain))

    def _present(self, grain: int) -> Iterator[tuple[int, int]]:
        descriptor, place = self.file.descriptor, self.place
        for begin, length in self.there(grain):
            for at in range(begin, begin + length, grain):
                step = min(grain, begin + length - at)
                if read_some(descriptor, _GLANCE, place + at) != _NOTHING or not is_zero(self.file.read(place + at, step)):
                    yield at, step


@runtime_checkable
class Located(Protocol):
    """An image that knows where its bytes lie."""

    def stretches(self, offset: int, length: int) -> Iterator[tuple[Stretch | None, int]]:
        """The parts of a range, in order, each with where it lies in a file of the host, None where it has to be read. Raises as `read`."""
        ...


@runtime_checkable
class Taking(Protocol):
    """An image that bytes of another file can be put into."""

    def take(self, offset: int, stretch: Stretch) -> None:
        """As `write`, of what lies in another file."""
        ...
