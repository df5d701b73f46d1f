"""What every open image offers beyond core.protocols.Block, and what is told of one."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from gasang.storage.bounds import check_range
from gasang.storage.images.references import Trust
from gasang.storage.images.store import Store

SECTOR = 512
ZERO, DATA = "zero", "data"

SIZE_MAX = 1 << 56
"""No image is larger: far above every host's file system, and sums of two such numbers stay small."""


class Report:
    """What a check found: errors endanger data, leaks waste space. `repaired` counts what was mended of both."""

    __slots__ = ("error_count", "errors", "leaks", "repaired")

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.error_count = 0
        self.leaks = 0
        self.repaired = 0

    def error(self, text: str) -> None:
        """Note an error; the first hundred with their text."""
        self.error_count += 1
        if len(self.errors) < 100:
            self.errors.append(text)


class Image(Protocol):
    """An open image: a disk that can tell of itself."""

    size: int
    read_only: bool

    def read(self, offset: int, length: int) -> bytes:
        """As Block."""
        ...

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """As Block."""
        ...

    def flush(self) -> None:
        """As Block."""
        ...

    def discard(self, offset: int, length: int) -> None:
        """As Block; the range reads as zeroes from then on."""
        ...

    def close(self) -> None:
        """As Block. Raises OSError if what was written cannot be kept."""
        ...

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        ...

    def about(self) -> dict[str, Any]:
        """Facts of the format: plain values under short names."""
        ...

    def check(self, *, repair: bool = False) -> Report:
        """Judge the image's own tables. Raises GasangError where it cannot be told."""
        ...


@runtime_checkable
class Resizable(Protocol):
    """An image whose disk can become larger or smaller."""

    def resize(self, size: int) -> None:
        """The disk has `size` bytes from now on, new ones are zeroes. Raises GasangError, OSError."""
        ...


@runtime_checkable
class Sealable(Protocol):
    """An image that can go on as one that is only read, without being opened again."""

    def seal(self) -> None:
        """Keep what was written; nothing is written any more, and others may read the file. Raises OSError."""
        ...


@runtime_checkable
class Compressing(Protocol):
    """An image that can store pieces compressed."""

    compressed_piece: int
    """Bytes of a piece; each is written once."""

    def compress(self, data: bytes) -> bytes | None:
        """A piece made small, None if that does not help. Safe from any thread."""
        ...

    def write_compressed(self, offset: int, packed: bytes) -> None:
        """Store what `compress` made of the piece at `offset`."""
        ...


class Option(NamedTuple):
    """Something a new image of a format can be told: its name, its values (none: any size), and the usual one."""

    name: str
    about: str
    choices: tuple[str, ...] = ()
    default: str = ""


Options = dict[str, str]


class Opener(Protocol):
    """Opens an image of one format."""

    def __call__(self, path: Path, *, read_only: bool, trust: Trust) -> Image:
        """Raises GasangError for what is damaged, foreign or hostile."""
        ...


class Loader(Protocol):
    """Opens an image that lies in one store."""

    def __call__(self, store: Store) -> Image:
        """The store is closed on an error. Raises GasangError for what is damaged, foreign, hostile or not in one file."""
        ...


class Creator(Protocol):
    """Makes an empty image of one format in files that are new."""

    def __call__(self, path: Path, size: int, options: Options) -> Image:
        """A disk of `size` bytes of zeroes, open for writing. Raises GasangError for options that do not fit, OSError."""
        ...


class Format(NamedTuple):
    """A disk format. `probe` is shown the first bytes of a file and its last 512."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    probe: Callable[[bytes, bytes], bool]
    open: Opener
    create: Creator
    load: Loader
    options: tuple[Option, ...] = ()


def check_write(image: Image, offset: int, length: int) -> None:
    """The border of a write; raise OSError outside the disk or if it is read-only."""
    check_range(image.size, offset, length)
    if image.read_only:
        raise OSError(errno.EROFS, "the image is open for reading only")
