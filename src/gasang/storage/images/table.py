"""The table of disk formats: opening an image by what it is, and making one.

Adding a format is a file and a line here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError, UnsupportedError, UsageError
from gasang.host.files import open_file
from gasang.storage.images.concat import Concat, files_of
from gasang.storage.images.image import Format, Image, Options
from gasang.storage.images.raw import FOREIGN
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store

HEAD: Final = 4096
TAIL: Final = 512
"""Bytes at the begin and the end of a file that a probe is shown."""

_MODULES: Final = {
    "qcow2": ("gasang.storage.images.qcow2.files", (".qcow2", ".qcow")),
    "vmdk": ("gasang.storage.images.vmdk", (".vmdk",)),
    "vdi": ("gasang.storage.images.vdi", (".vdi",)),
    "vhdx": ("gasang.storage.images.vhdx", (".vhdx",)),
    "vhd": ("gasang.storage.images.vhd", (".vhd", ".vpc")),
    "parallels": ("gasang.storage.images.parallels", (".hdd", ".hds")),
    "raw": ("gasang.storage.images.raw", (".img", ".raw")),
}
"""Each format's module, which has its FORMAT, and what its files' names end with, in the order in which they are probed."""


class _Formats(Mapping[str, Format]):
    """The formats by name. One is imported when it is asked for: all of them together take longer than many a disk."""

    def __getitem__(self, name: str) -> Format:
        found: Format = import_module(_MODULES[name][0]).FORMAT
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)

    def __contains__(self, name: object) -> bool:
        return name in _MODULES


FORMATS: Final[Mapping[str, Format]] = _Formats()


def open_image(path: Path, *, read_only: bool, form: str = "", trust: Trust | None = None) -> Image:
    """Open an image of the named format, or of the first one that takes the file for its own.

    What the image names is followed as `trust` says, beside it if nothing is said. Where its format is guessed and its suffix is another's,
    nothing beside it is followed: what a guest writes into a raw disk may look like any image.

    Raises UsageError for a name that is no format, UnsupportedError for a foreign file, and
    what the format's `open` raises.
    """
    found = named(form) if form else probed(path)
    return found.open(path, read_only=read_only, trust=_believed(path, form, found, trust))


def _believed(path: Path, form: str, found: Format, trust: Trust | None) -> Trust:
    given = trust or Trust()
    return given if form or by_suffix(path) is found or path.is_dir() else given._replace(beside=False)


def load_image(store: Store, path: Path, form: str, head: bytes, tail: bytes) -> Image:
    """The image in `store`, of the named format or of the first one that takes `head` and `tail` for its own; closed on an error.

    Raises UsageError for a name that is no format, UnsupportedError for a foreign file, and what the format's `load` raises.
    """
    try:
        found = named(form) if form else _recognized(path, head, tail)
    except BaseException:
        store.close()
        raise
    return found.load(store)


def named(form: str) -> Format:
    """The format of that name. Raises UsageError."""
    if form not in FORMATS:
        raise UsageError(f"disk format {form}", "it is not known", f"known are: {', '.join(FORMATS)}")
    return FORMATS[form]


def probed(path: Path) -> Format:
    """The format that a file is of. Raises UnsupportedError for a foreign one, BadInputError for one that cannot be read."""
    if path.is_dir():
        from gasang.storage.images.parallels import DESCRIPTOR

        path = path / DESCRIPTOR
    return _recognized(path, *_ends(path))


def _recognized(path: Path, head: bytes, tail: bytes) -> Format:
    for form in FORMATS.values():
        if form.probe(head, tail):
            return form
    what = next(what for magic, what in FOREIGN if head.startswith(magic))
    raise UnsupportedError(f"disk {path}", f"it is {what}, no disk image that is known here", "unpack it, or give its key-file")


def by_suffix(path: Path) -> Format | None:
    """The format that files of such a name usually have."""
    suffix = path.suffix.lower()
    return next((FORMATS[name] for name, (_, suffixes) in _MODULES.items() if suffix in suffixes), None)


def create_image(path: Path, form: str, size: int, options: Options | None = None) -> Image:
    """A new image of `size` bytes of zeroes. Raises UsageError for options that the format has not, and what its `create` raises."""
    found = named(form)
    known = {option.name: option for option in found.options}
    chosen = {option.name: option.default for option in found.options if option.default}
    for name, value in (options or {}).items():
        if name not in known:
            raise UsageError(f"option {name}", f"format {form} has none of that name", f"known are: {', '.join(known) or 'none'}")
        if known[name].choices and value not in known[name].choices:
            raise UsageError(f"option {name}", f"{value!r} is none of its values", f"use one of {', '.join(known[name].choices)}")
        chosen[name] = value
    if size < 0 or (not size and "backing_file" not in chosen):
        raise UsageError("size", f"a disk of {size} bytes is none", "give it at least a sector")
    return found.create(path, size, chosen)


def _ends(path: Path) -> tuple[bytes, bytes]:
    try:
        with os.fdopen(open_file(path, read_only=True), "rb", buffering=0) as file:
            head = file.read(HEAD) or b""
            if not file.seekable():
                return head, b""
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            return head, file.read(TAIL) or b""
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return b"", b""  # the opener says it better
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"disk {path}", f"it cannot be read ({getattr(error, 'strerror', None) or error})", "name a disk image"
        ) from error


def describe(path: Path, form: str, trust: Trust | None) -> dict[str, Any]:
    """What is told of an image: plain values. Raises what opening it raises; a backing file that is not allowed is only named."""
    found = named(form) if form else probed(path)
    try:
        image = found.open(path, read_only=True, trust=_believed(path, form, found, trust))
    except (PermissionDeniedError, NotFoundError):
        if found.name != "qcow2" or not path.is_file():
            raise
        from gasang.storage.images.qcow2.files import load

        image = load(File.open(path, read_only=True))
    used = sum(file.stat().st_blocks * 512 for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file())
    facts = {"file": str(path), "format": found.name, "size": image.size, "used": used, **image.about()}
    image.close()
    return facts


def remove_image(path: Path, image: Image) -> None:
    """Take an unfinished image away, with the files of its extents. Errors of the host are not told: another is under way."""
    folder = path.is_dir()
    names = set(path.iterdir()) if folder else {path}
    names |= files_of(image.parts) if isinstance(image, Concat) else set()
    with contextlib.suppress(OSError, GasangError):
        image.close()
    for name in names:
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)
    if folder:
        with contextlib.suppress(OSError):
            path.rmdir()
