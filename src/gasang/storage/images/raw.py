"""A raw image: the disk byte for byte, holes and all. A size that is no whole number of sectors is rounded up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError
from gasang.storage.bounds import check_range
from gasang.storage.images.image import SECTOR, Format, Options, Report, check_write
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store, put, stretch_of
from gasang.storage.images.stretch import Stretch

_PIECE = bytes(1 << 20)
FOREIGN: Final = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"BZh", "compressed with bzip2"),
    (b"PK\3\4", "a ZIP archive"),
    (b"COWD", "a VMDK image of version 3"),
    (b"QED\0", "a QED image"),
    (b"LUKS\xba\xbe", "encrypted with LUKS"),
)
"""What a raw disk does not start with, and people have at hand."""


class RawImage:
    """An open raw image over `store`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.size = -(-store.size() // SECTOR) * SECTOR
        self.read_only = store.read_only

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise OSError outside the disk or if the host fails."""
        check_range(self.size, offset, length)
        return self.store.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError outside the disk, if it is read-only or if the host fails."""
        check_write(self, offset, len(data))
        self.store.write(offset, data)

    def take(self, offset: int, stretch: Stretch) -> None:
        """As `write`, of what lies in another file."""
        check_write(self, offset, len(stretch))
        put(self.store, offset, stretch)

    def stretches(self, offset: int, length: int) -> Iterator[tuple[Stretch | None, int]]:
        """Where the bytes of a range lie; raise as `read` does."""
        check_range(self.size, offset, length)
        yield stretch_of(self.store, offset, length), length

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        self.store.flush()

    def discard(self, offset: int, length: int) -> None:
        """A hole, or zeroes where the host knows no holes. Raise OSError as `write` does."""
        check_write(self, offset, length)
        if length and not self.store.punch(offset, length):
            for at in range(offset, offset + length, len(_PIECE)):
                self.store.write(at, memoryview(_PIECE)[: min(len(_PIECE), offset + length - at)])

    def close(self) -> None:
        """Give the file back."""
        self.store.close()

    def seal(self) -> None:
        """It is only read from now on, by others too. Raises OSError."""
        self.store.flush()
        if isinstance(self.store, File):
            self.store.seal()
        self.read_only = True

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        yield from self.store.data()

    def about(self) -> dict[str, Any]:
        """A raw image says nothing of itself."""
        return {}

    def check(self, *, repair: bool = False) -> Report:
        """Any bytes are a raw image."""
        return Report()

    def resize(self, size: int) -> None:
        """The disk has `size` bytes from now on, whole sectors. Raises OSError."""
        self.size = -(-size // SECTOR) * SECTOR
        self.store.truncate(self.size)


def open_file(path: Path, *, read_only: bool, trust: Trust) -> RawImage:
    """Any file that is not empty. Raises what File.open raises, BadInputError for an empty one."""
    store = File.open(path, read_only=read_only, links=trust.links)
    if not store.size():
        store.close()
        raise BadInputError(f"disk {path}", "it is empty", "name a disk image")
    return RawImage(store)


def load(store: Store) -> RawImage:
    """Whatever is in `store`."""
    return RawImage(store)


def create_file(path: Path, size: int, options: Options) -> RawImage:
    """A file of `size` bytes that is one hole."""
    store = File.made_new(path)
    store.truncate(-(-size // SECTOR) * SECTOR)
    return RawImage(store)


def probe(head: bytes, tail: bytes) -> bool:
    """Anything is a raw disk that is not known to be something else."""
    return not any(head.startswith(magic) for magic, _ in FOREIGN)


FORMAT: Final = Format("raw", "the disk byte for byte", (".img", ".raw"), probe, open_file, create_file, load)
