"""Where packages of this host's own architecture are configured: in a folder, by whoever can run programs there (a room above).

Entries become a folder of the host by the same unpacker that makes layers, so nothing of them leaves it. What has run in the folder may
have left anything there: it is read without following links.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

from gasang.core.progress import Progress
from gasang.images.layers import write as tar
from gasang.images.layers.unpack import Unpacker
from gasang.images.spool import out_of_space
from gasang.storage.tree import Entry, Kind, encode

ROOT = "root"
_PIECE = 1 << 18
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "riscv64": "riscv64"}
"""Debian's names of the architectures that images are made for."""
_KINDS = {
    Kind.FILE: tar.FILE,
    Kind.DIRECTORY: tar.FOLDER,
    Kind.SYMLINK: tar.SYMBOLIC_LINK,
    Kind.HARDLINK: tar.HARD_LINK,
    Kind.CHARACTER: tar.CHARACTER,
    Kind.BLOCK: tar.BLOCK_DEVICE,
    Kind.FIFO: tar.FIFO,
}


@dataclass(frozen=True, slots=True)
class Unconfigured:
    """A folder with `packages` unpacked packages; `subject` names the image in messages.

    `time` is what scripts are to take for now, in seconds since 1970 (SOURCE_DATE_EPOCH), 0 for the clock's. `services`: what
    keeps services from being started goes away in the end; a container's image keeps it.
    """

    root: Path
    packages: int
    subject: str
    time: int = 0
    services: bool = True


class Configurer(Protocol):
    """Runs programs of this host's architecture in a folder, isolated from the host."""

    def configure(self, order: Unconfigured, progress: Progress) -> None:
        """Configure the packages by `guest/configure`.

        Raises BadInputError that names the package and the script that fails, OutOfSpaceError, PermissionDeniedError; nothing of it
        runs on then.
        """
        ...

    def forget(self, folder: Path) -> None:
        """End what an interrupted `configure` has left of a root in `folder`."""
        ...


@contextmanager
def workplace(cache: Path, prefix: str, forget: Callable[[Path], object]) -> Iterator[Path]:
    """A new folder in the cache for the block; those of the same prefix, left by who was killed, go, and what `forget` knows of them.

    The caller holds a lock, so that nobody else works in one.

    Raises OutOfSpaceError, PermissionDeniedError.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(f"{prefix}*"):
            forget(left)
            shutil.rmtree(left, ignore_errors=True)
        work = tempfile.TemporaryDirectory(prefix=prefix, dir=cache)
    except OSError as fault:
        raise out_of_space(fault, cache) from fault
    with work as folder:
        yield Path(folder)


def host_architecture() -> str:
    """The host's architecture as Debian calls it; "" for one that no image is made for."""
    return _MACHINES.get(platform.machine().lower(), "")


def script() -> bytes:
    """What is to run in the root: see its own head."""
    return resources.files("gasang.images").joinpath("guest", "configure").read_bytes()


@contextmanager
def unfolded(entries: Iterable[Entry], folder: Path) -> Iterator[Path]:
    """The entries as a directory below `folder`, for the block. Raises BadInputError, OutOfSpaceError, PermissionDeniedError."""
    root = folder / ROOT
    try:
        root.mkdir(mode=0o755)
        _unfold(entries, root)
        yield root
    except OSError as fault:
        raise out_of_space(fault, folder) from fault
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _unfold(entries: Iterable[Entry], root: Path) -> None:
    unpacker = Unpacker(root, "the packages' files")
    try:
        writer = tar.TarWriter(unpacker.feed)
        for entry in entries:
            if encode(entry.path):
                writer.add(_for_tar(entry), _content(entry))
        writer.close()
        unpacker.finish()
    finally:
        unpacker.close()


def _for_tar(entry: Entry) -> tar.Entry:
    return tar.Entry(
        encode(entry.path), _KINDS[entry.kind], entry.mode, entry.uid, entry.gid, entry.length, entry.mtime, encode(entry.target),
        entry.device, entry.xattrs,
    )  # fmt: skip


def _content(entry: Entry) -> Iterator[bytes]:
    if isinstance(entry.data, bytes):
        yield entry.data
        return
    with entry.data() as stream:
        while piece := stream.read(_PIECE):
            yield piece
