"""The user's own disks and the throw-away layer over an image's disk, as devices of a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gasang.core.paths import cache_folder
from gasang.devices.virtio.block import Later, VirtioBlock
from gasang.images.spool import out_of_space
from gasang.storage.formats import open_disk
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw


@dataclass(frozen=True)
class Disk:
    """A disk of the user's. `form` names its format (storage.formats.FORMATS); without it the file's content decides."""

    path: Path
    read_only: bool = False
    form: str = ""


def attach(disks: Sequence[Disk], later: Later, warn: Callable[[str], None], cleanup: ExitStack) -> list[VirtioBlock]:
    """Open `disks`, in this order; `cleanup` closes them, after `later` has done its work. `warn` hears of the host's errors.

    Raises what `open_disk` raises.
    """
    made = []
    for disk in disks:
        block = open_disk(disk.path, read_only=disk.read_only, form=disk.form)
        cleanup.callback(block.close)
        made.append(VirtioBlock(block, later, read_only=disk.read_only, on_error=about(f"disk {disk.path}", warn)))
    return made


def throw_away(path: Path) -> Overlay:
    """A layer over an image's raw disk, which is shared and never changed: what the guest writes is gone with it.

    It lies in the cache folder: where temporary files go is often memory. Raises what `Raw.open` raises, OutOfSpaceError or
    PermissionDeniedError where the folder cannot be written.
    """
    # The format is named, not probed: what such a disk begins with was once written by a guest.
    base = Raw.open(path, read_only=True)
    folder = cache_folder(os.environ) / "layers"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Overlay(base, str(folder))
    except OSError as error:
        base.close()
        raise out_of_space(error, folder) from error


def about(subject: str, warn: Callable[[str], None]) -> Callable[[str], None]:
    """What warns of a cause, given the subject."""
    return lambda cause: warn(f"{subject}: {cause}")
