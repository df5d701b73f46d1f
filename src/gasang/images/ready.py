"""What a machine boots from: an image's files, unpacked from the store into the cache when they are not there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from gasang.core.progress import Progress
from gasang.images import store as parts
from gasang.images.packing import unpack
from gasang.images.spool import out_of_space
from gasang.images.store import Image, Store


@dataclass(frozen=True)
class BootFiles:
    """Paths of an image's kernel, initramfs and raw root disk, and the kernel's command line."""

    kernel: Path
    initrd: Path
    disk: Path
    append: str


def ready_folder(cache: Path, image: Image) -> Path:
    """Where an image's unpacked disk lies: named by its manifest's digest, so it is never another image's."""
    return cache / "ready" / image.digest.removeprefix("sha256:")


def ready_files(store: Store, cache: Path, image: Image, progress: Progress) -> BootFiles:
    """An image's files, ready to boot from. Raises BadInputError for a damaged image, OutOfSpaceError on a full disk."""
    folder = ready_folder(cache, image)
    disk = folder / "disk.raw"
    size = int(image.config["disk_size"])
    if not disk.is_file() or disk.stat().st_size != size:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise out_of_space(error, folder) from error
        with progress.step(f"unpacking {image.reference}", size, "bytes") as step:
            unpack(store.path(image.layer(parts.DISK)), disk, size, f"image {image.reference}", step.advance)
    return BootFiles(store.path(image.layer(parts.KERNEL)), store.path(image.layer(parts.INITRD)), disk, str(image.config["append"]))


def forget_ready(cache: Path, image: Image) -> None:
    """Remove an image's unpacked disk."""
    shutil.rmtree(ready_folder(cache, image), ignore_errors=True)
