"""Opening a user's disk image as the disk of a machine, by what it is.

A disk whose content a guest controls must be opened with its format named: probing would let the guest choose (by writing another format's
header into its raw disk) which format it is. Files that images name are followed as storage/images/references.py says.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError, UsageError
from gasang.core.protocols import Block
from gasang.storage.raw import Raw

if TYPE_CHECKING:
    from gasang.storage.images.image import Image
    from gasang.storage.images.references import Trust
    from gasang.storage.throttle import Limits

T = TypeVar("T")


def open_disk(path: Path, *, read_only: bool = False, form: str = "", trust: Trust | None = None) -> Block:
    """Open a disk of the named format, or of the first one that takes it for its own.

    Raises UsageError for a name that is no format, UnsupportedError for a file of a foreign format, and what the opener raises.
    """
    from gasang.storage.images.table import named, open_image, probed  # a machine without such disks has no time for it

    found = named(form) if form else probed(path)
    if found.name == "raw":
        return Raw.open(path, read_only=read_only)
    return Told(open_image(path, read_only=read_only, form=form, trust=trust), (path.absolute(), found.name))


REMOTE: Final = ("http://", "https://", "nbd://", "nbds://", "nbd+unix://", "nbds+unix://")
"""What begins like that is no file here, but an address (storage/remote.py)."""


class Served(NamedTuple):
    """A disk from an address, which another process has, and serves at this connected socket."""

    address: str
    descriptor: int


def open_given(
    where: str | Served,
    *,
    read_only: bool = False,
    form: str = "",
    key: bytes | None = None,
    limits: Limits | None = None,
    header: Path | None = None,
) -> Block:
    """Open a disk by its path or address, or where it is served; encrypted with LUKS if a key (its passphrase) is given.

    The container's `header` may be a file of its own.

    It is held to `limits`.
    Raises what `open_disk`, `open_remote` and `unlock` raise.
    """
    if isinstance(where, Served):
        from gasang.storage.remote import open_served

        block: Block = Told(open_served(where.address, where.descriptor, read_only=read_only))
    elif key is not None:
        from gasang.storage.encrypted import open_encrypted

        block = Told(open_encrypted(where, key, read_only=read_only, form=form, header=header))
    elif where.startswith(REMOTE):
        from gasang.storage.remote import open_remote

        block = Told(open_remote(where, read_only=read_only, form=form))
    else:
        block = open_disk(Path(where), read_only=read_only, form=form)
    if limits is None:
        return block
    from gasang.storage.throttle import throttled

    return throttled(block, limits)


KEY_MAX: Final = 8 << 20
"""Bytes of a passphrase, cryptsetup's own limit."""


def read_key(path: Path) -> bytes:
    """A passphrase: all that a file holds, an end of line too, as cryptsetup's --key-file has it.

    Raises NotFoundError, PermissionDeniedError, UsageError for one that is empty or too long.
    """
    try:
        with path.open("rb") as file:
            key = file.read(KEY_MAX + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"key {path}", "there is no such file", "check its path") from error
    except OSError as error:
        raise PermissionDeniedError(f"key {path}", f"it cannot be read ({error.strerror})", "check its path and permissions") from error
    if not key or len(key) > KEY_MAX:
        raise UsageError(f"key {path}", "it is empty" if not key else "it is too long", "name a file with the disk's passphrase")
    return key


class Told:
    """An image as a device's disk: what is wrong with it is the host's error of one transfer."""

    def __init__(self, image: Image, file: tuple[Path, str] | None = None) -> None:
        """`file` is where it lies, and its format, where that is all there is to opening it again."""
        self._image = image
        self.size = image.size
        self.file = file

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise OSError if the host fails or the image is damaged."""
        return _told(lambda: self._image.read(offset, length))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError if the host fails or the image is damaged."""
        _told(lambda: self._image.write(offset, data))

    def flush(self) -> None:
        """Return once everything written is on stable storage; raise OSError as `write` does."""
        _told(self._image.flush)

    def discard(self, offset: int, length: int) -> None:
        """The range reads as zeroes from then on; raise OSError as `write` does."""
        _told(lambda: self._image.discard(offset, length))

    def close(self) -> None:
        """Keep what was written and release the files; raise OSError as `write` does."""
        _told(self._image.close)


def _told(act: Callable[[], T]) -> T:
    try:
        return act()
    except GasangError as error:
        raise OSError(errno.EIO, str(error)) from error
