"""The table of disk formats, and opening a disk by what it is.

A disk whose content a guest controls must be opened with its format named: probing would let the guest choose (by writing another
format's header into its raw disk) which other files of the host are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.core.protocols import Block
from gasang.host.files import open_file
from gasang.storage.raw import Raw

HEAD = 512
"""Bytes that a probe is shown."""


class Opener(Protocol):
    """Opens a disk of one format."""

    def __call__(self, path: Path, *, read_only: bool = False) -> Block:
        """Open `path`; raise a GasangError that says why not."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what opens it, and whether a file that starts with these bytes is one."""

    open: Opener
    probe: Callable[[bytes], bool]


FOREIGN = (
    (b"QFI\xfb", "a qcow2 image"),
    (b"KDMV", "a VMDK image"),
    (b"# Disk DescriptorFile", "a VMDK descriptor"),
    (b"vhdxfile", "a VHDX image"),
    (b"conectix", "a VHD image"),
    (b"<<< ", "a VDI image"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"BZh", "compressed with bzip2"),
    (b"PK\3\4", "a ZIP archive"),
)
"""What a raw disk does not start with, and people have at hand."""


def _is_raw(head: bytes) -> bool:
    return not any(head.startswith(magic) for magic, _ in FOREIGN)


FORMATS: dict[str, Format] = {
    "raw": Format(Raw.open, _is_raw),
}
"""Every format, probed in this order."""


def open_disk(path: Path, *, read_only: bool = False, form: str = "") -> Block:
    """Open a disk of the named format, or of the first one that takes it for its own.

    Raises UsageError for a name that is no format, UnsupportedError for a file of a foreign format, and what the opener raises.
    """
    if form:
        if form not in FORMATS:
            raise UsageError(f"disk format {form}", "it is not known", f"known are: {', '.join(FORMATS)}")
        return FORMATS[form].open(path, read_only=read_only)
    head = _head(path)
    for candidate in FORMATS.values():
        if candidate.probe(head):
            return candidate.open(path, read_only=read_only)
    what = next(what for magic, what in FOREIGN if head.startswith(magic))
    raise UnsupportedError(f"disk {path}", f"it is {what}, no raw disk", "unpack or convert it to a raw disk first")


def _head(path: Path) -> bytes:
    try:
        with os.fdopen(open_file(path, read_only=True), "rb", buffering=0) as file:
            return file.read(HEAD) or b""
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return b""  # the opener says it better
    except OSError as error:
        raise BadInputError(f"disk {path}", f"it cannot be read ({error.strerror})", "name a disk image") from error
