"""What saving and loading share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gasang.core.errors import GasangError
from gasang.images.descriptors import Blob

CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation with an image's full name."""
_PIECE = 1 << 18


def hex_of(blob: Blob) -> str:
    """A blob's name in a layout."""
    return blob.digest.removeprefix("sha256:")


def read_pieces(path: Path) -> Iterator[bytes]:
    """A file's content, a symbolic link not followed. Raises GasangError where it cannot be read."""
    try:
        with open(path, "rb", buffering=0, opener=_plain) as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as fault:
        raise GasangError(f"file {path}", f"it cannot be read ({fault.strerror})", "check its permissions") from fault


def _plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
