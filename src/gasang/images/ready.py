"""What a machine boots from: an image's files, unpacked from the store into the cache when they are not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gasang.core.errors import BadInputError
from gasang.core.progress import Progress, Step
from gasang.images import store as parts
from gasang.images.image_process import PROCESS, read_process
from gasang.images.initramfs import ImageProcess
from gasang.images.spool import out_of_space
from gasang.images.store import Image, Store
from gasang.storage.sparse import unpack

SECTOR = 512
ROOT = "/dev/vda"
DISK_MAX = 1 << 42
"""Bytes of the largest disk: what every usual file system of a host can hold in one file."""
APPEND_MAX = 1024
"""Characters of the longest command line, as riscv64 kernels have it (COMMAND_LINE_SIZE)."""


@dataclass(frozen=True)
class BootFiles:
    """Paths of an image's kernel, initramfs and raw root disk, and the kernel's command line."""

    kernel: Path
    initrd: Path
    disk: Path
    append: str
    process: ImageProcess | None = None
    """What a container image is for, where the image is made of one."""
    root: str = ROOT
    """The device that its root is on."""
    own: bool = False
    """Whether it boots as its disk says, with programs of its own and on its serial line: nothing of ours is in it."""


def ready_folder(cache: Path, image: Image) -> Path:
    """Where an image's unpacked disk lies: named by its manifest's digest, so it is never another image's."""
    return cache / "ready" / image.digest.removeprefix("sha256:")


def ready_files(store: Store, cache: Path, image: Image, progress: Progress) -> BootFiles:
    """An image's files, ready to boot from. Raises BadInputError for a damaged image, OutOfSpaceError on a full disk."""
    folder = ready_folder(cache, image)
    disk = folder / "disk.raw"
    size, append = _settings(image)
    process = read_process(image.config.get(PROCESS), f"image {image.reference}")
    if not disk.is_file() or disk.stat().st_size != size:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise out_of_space(error, folder) from error
        packed = store.path(image.layer(parts.DISK))
        with progress.step(f"unpacking {image.reference}", size, "bytes") as step, _opened(packed, image) as stream:
            try:
                unpack(stream, disk, forward(step), limit=size)
            except BadInputError as error:
                raise _damaged(image, f"its disk is damaged ({error.cause})") from error
        if disk.stat().st_size != size:
            disk.unlink()
            raise _damaged(image, "its disk has another size than its configuration says")
    return BootFiles(store.path(image.layer(parts.KERNEL)), store.path(image.layer(parts.INITRD)), disk, append, process)


def _settings(image: Image) -> tuple[int, str]:
    """(bytes of the disk, command line) from an image's configuration, which may say anything. Raises BadInputError."""
    size, append = image.config.get("disk_size"), image.config.get("append")
    if type(size) is not int or not 0 < size <= DISK_MAX or size % SECTOR:
        raise _damaged(image, "its configuration has no disk size that a disk can have")
    if not isinstance(append, str) or len(append) > APPEND_MAX or not append.isprintable():
        raise _damaged(image, "its configuration has no command line that a kernel can be given")
    return size, append


def _damaged(image: Image, cause: str) -> BadInputError:
    return BadInputError(f"image {image.reference}", cause, "remove it and pull it again")


def _opened(path: Path, image: Image) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _damaged(image, "its disk is missing from the store") from error


def forward(step: Step) -> Callable[[int, int], None]:
    """Turns "so much of so much is done" into steps forward."""
    last = 0

    def reached(done: int, total: int) -> None:
        nonlocal last
        step.advance(done - last)
        last = done

    return reached


def forget_ready(cache: Path, image: Image) -> None:
    """Remove an image's unpacked disk."""
    shutil.rmtree(ready_folder(cache, image), ignore_errors=True)
