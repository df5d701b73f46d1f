"""The file under an image: bytes at offsets, which grows, and can be cut by its writer.

What a format reads past the end are zeroes, as if the file went on as a hole; that is how sparse images are cut short by their makers.
Lengths are bounded by the formats, which check what a header says before they ask for it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from gasang.core.errors import BadInputError, NotFoundError, PermissionDeniedError, StateError
from gasang.host.files import copy_range, lock_file, open_file, sync, write_at
from gasang.host.holes import data_runs, punch_hole
from gasang.storage.images.stretch import Stretch

T = TypeVar("T")
_PIECE = 1 << 19
"""What is read and written at a time where the host does not copy: it stays in the processor's cache in between."""


class Store(Protocol):
    """A file that an image lies in. Everything may raise OSError if the host fails."""

    name: str
    read_only: bool

    def size(self) -> int:
        """Bytes up to its end."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end."""
        ...

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store all of `data`, behind the end too."""
        ...

    def truncate(self, size: int) -> None:
        """Have the file end at `size`."""
        ...

    def punch(self, offset: int, length: int) -> bool:
        """Whether a range that lies inside is a hole now."""
        ...

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        ...

    def flush(self) -> None:
        """Return once all that was written is on stable storage."""
        ...

    def close(self) -> None:
        """Give it back; a second time does nothing."""
        ...


class File:
    """A file or block device of the host."""

    def __init__(self, descriptor: int, name: str, *, read_only: bool) -> None:
        self._descriptor = descriptor
        self._end = os.lseek(descriptor, 0, os.SEEK_END)
        self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._durable = True
        self._changed = False  # since it was last synced: a sync of what did not change costs as much as any
        self.name = name
        self.read_only = read_only

    @classmethod
    def open(cls, path: Path, *, read_only: bool, links: bool = True) -> File:
        """Open and lock it: a writer has it alone; without `links` no symbolic link.

        Raises NotFoundError, PermissionDeniedError, BadInputError, StateError.
        """
        try:
            descriptor = open_file(path, read_only=read_only, links=links)
        except FileNotFoundError as error:
            raise NotFoundError(f"disk {path}", "there is no such file", "check its path") from error
        except PermissionError as error:
            raise PermissionDeniedError(f"disk {path}", "it cannot be opened", "change its permissions") from error
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise BadInputError(f"disk {path}", f"it cannot be opened ({cause})", "name a disk image") from error
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise BadInputError(f"disk {path}", "it is a folder", "name a disk image")
            if not lock_file(descriptor, shared=read_only):
                raise StateError(f"disk {path}", "another machine has it open for writing", "stop that machine first")
            return cls(descriptor, str(path), read_only=read_only)
        except OSError as error:
            os.close(descriptor)
            raise BadInputError(f"disk {path}", f"it is no file with a size ({error.strerror})", "name a disk image") from error
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def made_new(cls, path: Path) -> File:
        """A new empty file, or an old one emptied; not synced, as nobody relies on it until it is opened again.

        Raises StateError if somebody has it open, PermissionDeniedError, BadInputError.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0), 0o666)
        except PermissionError as error:
            raise PermissionDeniedError(f"disk {path}", "it cannot be made", "choose another folder") from error
        except (OSError, ValueError) as error:
            raise BadInputError(
                f"disk {path}", f"it cannot be made ({getattr(error, 'strerror', None) or error})", "choose another name"
            ) from error
        if not lock_file(descriptor, shared=False):
            os.close(descriptor)
            raise StateError(f"disk {path}", "another machine has it open", "stop that machine first")
        made = cls(descriptor, str(path), read_only=False)
        if made.size():
            made.truncate(0)  # of a file that was empty, ext4 would write everything out when it is closed
        made._durable = False
        return made

    @classmethod
    def filled(cls, path: Path, fill: Callable[[Store], T]) -> T:
        """What `fill` makes in a new file, which is gone again if it raises. Raises what `made_new` and `fill` raise."""
        store = cls.made_new(path)
        try:
            return fill(store)
        except BaseException:
            store.close()
            path.unlink(missing_ok=True)
            raise

    def size(self) -> int:
        """Bytes up to its end."""
        return self._end

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end."""
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length:
            return data
        parts = [data]
        have = len(data)
        while have < length and parts[-1]:
            parts.append(os.pread(self._descriptor, length - have, offset + have))
            have += len(parts[-1])
        return b"".join(parts).ljust(length, b"\0")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store all of `data`, behind the end too."""
        self._changed = True
        write_at(self._descriptor, data if isinstance(data, bytes) else memoryview(data), offset)
        self._end = max(self._end, offset + len(data))

    @property
    def descriptor(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def take(self, offset: int, stretch: Stretch) -> None:
        """Store what lies in another file, behind the end too."""
        self._changed = True
        done = copy_range(stretch.file.descriptor, stretch.place, self._descriptor, offset, len(stretch))
        self._end = max(self._end, offset + done)
        while done < len(stretch):
            part = stretch[done : done + _PIECE]
            self.write(offset + done, bytes(part))
            done += len(part)

    def truncate(self, size: int) -> None:
        """Have the file end at `size`."""
        if self._regular:
            self._changed = True
            os.ftruncate(self._descriptor, size)
            self._end = size

    def punch(self, offset: int, length: int) -> bool:
        """Whether a range that lies inside is a hole now."""
        self._changed = True
        with contextlib.suppress(OSError):
            punch_hole(self._descriptor, offset, length)
            return True
        return False

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order."""
        return data_runs(self._descriptor, self._end)

    def flush(self) -> None:
        """Return once all that was written is on stable storage."""
        if self._durable and self._changed:
            self._changed = False
            try:
                sync(self._descriptor)
            except OSError:
                self._changed = True
                raise

    def seal(self) -> None:
        """It is only read from now on, by others too."""
        self.read_only = True
        lock_file(self._descriptor, shared=True)

    def unseal(self) -> None:
        """It is written again after all; forks that have it open only read it."""
        self.read_only = False
        lock_file(self._descriptor, shared=False)

    def close(self) -> None:
        """Give the file and its lock back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Volatile:
    """A file in memory: for tests and for judging pieces of an image without the host."""

    def __init__(self, content: bytes = b"", name: str = "memory", *, read_only: bool = False) -> None:
        self.content = bytearray(content)
        self.name = name
        self.read_only = read_only

    def size(self) -> int:
        """Bytes up to its end."""
        return len(self.content)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end."""
        return bytes(self.content[offset : offset + length]).ljust(length, b"\0")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store all of `data`, behind the end too."""
        if offset > len(self.content):
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Have the file end at `size`."""
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def punch(self, offset: int, length: int) -> bool:
        """Zeroes, and that is all a hole is here."""
        self.content[offset : offset + length] = bytes(max(0, min(length, len(self.content) - offset)))
        return True

    def data(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        if self.content:
            yield 0, len(self.content)

    def flush(self) -> None:
        """Memory is as stable as it gets."""

    def close(self) -> None:
        """Nothing is held."""


def put(store: Store, offset: int, view: memoryview | Stretch) -> None:
    """Store all of `view`, copied by the host where it can. Raises OSError."""
    if not isinstance(view, Stretch):
        store.write(offset, view)
    elif isinstance(store, File):
        store.take(offset, view)
    else:
        store.write(offset, bytes(view))


def stretch_of(store: Store, place: int, length: int) -> Stretch | None:
    """What lies in a store, where that is a file of the host."""
    return Stretch(store, place, length) if isinstance(store, File) else None
