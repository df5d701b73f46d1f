"""A container image's files as the root disk of a machine: its layers put together, and the folders that a machine mounts over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gasang.core.errors import UnsupportedError
from gasang.core.progress import Progress
from gasang.host import users
from gasang.host.trees import overlay
from gasang.images.build import DISK_SIZE, write_disk
from gasang.storage.tree import Entry, Kind, encode, read_tree

PLACES: Final = {b"dev": 0o755, b"etc": 0o755, b"proc": 0o555, b"run": 0o755, b"sys": 0o555, b"tmp": 0o1777}
"""What guest/init mounts over, or programs rely on; whatever else an image has there gives way to a folder."""
GIB: Final = 1 << 30
LABEL: Final = "root"


def write_root(layers: Sequence[Path], disk: Path, subject: str, progress: Progress) -> int:
    """Write the layers' files, the uppermost first, to a new disk; its size in bytes, of which at least half is free.

    Raises UnsupportedError for a user who is not root, GasangError where the layers cannot be put together, OutOfSpaceError.
    """
    if os.geteuid() != 0 or not users.are_the_hosts():
        raise UnsupportedError(subject, "only root has its files with their owners", "run it as root, or as a container")
    with _together(layers, disk.parent) as root:
        entries = list(completed(read_tree(root)))
        content = sum(entry.length for entry in entries)
        size = max(DISK_SIZE, -(-2 * content // GIB) * GIB)
        write_disk(disk, entries, LABEL, progress, size)
    return size


@contextmanager
def _together(layers: Sequence[Path], folder: Path) -> Iterator[Path]:
    """A path of the layers put together; overlayfs wants two of them at least."""
    with TemporaryDirectory(prefix=".layers-", dir=folder) as spare, ExitStack() as cleanup:
        empty = [Path(spare, name) for name in ("one", "other")]
        for place in empty:
            place.mkdir()
        descriptor = overlay((*layers, *empty)[: max(2, len(layers))])
        cleanup.callback(os.close, descriptor)
        yield Path(f"/proc/self/fd/{descriptor}")


def completed(entries: Iterator[Entry]) -> Iterator[Entry]:
    """The entries with a folder at each of PLACES, parents first."""
    missing = dict(PLACES)
    replaced: set[bytes] = set()
    for entry in entries:
        path = encode(entry.path)
        if path in missing:
            mode = missing.pop(path)
            if entry.kind is not Kind.DIRECTORY:
                replaced.add(path)
                yield Entry(path=path, kind=Kind.DIRECTORY, mode=mode)
                continue
        if entry.kind is Kind.HARDLINK and encode(entry.target) in replaced:
            continue
        yield entry
    for path, mode in missing.items():
        yield Entry(path=path, kind=Kind.DIRECTORY, mode=mode)
