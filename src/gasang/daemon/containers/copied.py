"""Roots of containers where overlayfs takes no changes: the image's layers copied, and a layer found by comparing with them again.

Trees are walked by descriptors that follow no link: the container may run.
"""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError
from gasang.daemon.containers.extract import Extraction
from gasang.daemon.containers.packing import Packer
from gasang.host.trees import overlay
from gasang.kinds.container.planning.order import OverlayRoot
from gasang.kinds.container.rootcopy import copy_layers

MODIFIED, ADDED, DELETED = 0, 1, 2
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def takes_changes(folder: Path) -> bool:
    """Whether overlayfs can keep changes in a folder of this file system."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as place:
        lower, upper, work = (Path(place) / name for name in ("lower", "upper", "work"))
        for made in (lower, upper, work):
            made.mkdir()
        try:
            os.close(overlay((lower,), upper, work))
        except GasangError:
            return False
        return True


def copy(layers: Sequence[Path], target: Path) -> None:
    """Copy layers, the uppermost first, into a new folder. Raises OutOfSpaceError."""
    target.mkdir(mode=0o755)
    copy_layers(OverlayRoot([str(layer) for layer in layers], "", "", str(target)))


@dataclass(frozen=True)
class Difference:
    """A path below the root, and whether the root changed, added or removed it."""

    path: str
    kind: int


def differences(root: int, image: int, prefix: str = "") -> list[Difference]:
    """What is different in the folder `root` from the folder `image`, folders before what is in them."""
    result: list[Difference] = []
    here, there = set(os.listdir(root)), set(os.listdir(image)) if image >= 0 else set()
    for name in sorted(here | there):
        own = _look(root, name) if name in here else None
        old = _look(image, name) if name in there else None
        path = f"{prefix}/{name}"
        if own is None:
            result += [Difference(path, DELETED)] if old is not None else []
            continue
        inner = _inner(root, image, name, path, old) if stat.S_ISDIR(own.st_mode) else []
        if old is None:
            result.append(Difference(path, ADDED))
        elif inner or not _is_same(root, image, name, own, old):
            result.append(Difference(path, MODIFIED))
        result += inner
    return result


def _inner(root: int, image: int, name: str, path: str, old: os.stat_result | None) -> list[Difference]:
    folder = os.open(name, _FOLDER, dir_fd=root)
    other = -1
    try:
        if old is not None and stat.S_ISDIR(old.st_mode):
            other = os.open(name, _FOLDER, dir_fd=image)
        return differences(folder, other, path)
    finally:
        os.close(folder)
        if other >= 0:
            os.close(other)


def _look(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:  # it has gone meanwhile
        return None


def _is_same(root: int, image: int, name: str, own: os.stat_result, old: os.stat_result) -> bool:
    if (own.st_mode, own.st_uid, own.st_gid) != (old.st_mode, old.st_uid, old.st_gid):
        return False
    if stat.S_ISDIR(own.st_mode):
        return True
    if stat.S_ISLNK(own.st_mode):
        return os.readlink(name, dir_fd=root) == os.readlink(name, dir_fd=image)
    return (own.st_size, own.st_mtime_ns, own.st_rdev) == (old.st_size, old.st_mtime_ns, old.st_rdev)


def write_layer(root: int, image: int, upper: Path) -> None:
    """Make in the empty folder `upper` the layer that turns `image` into `root`, as overlayfs would have kept it. Raises OSError."""
    target = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(root)
        os.chown(upper, found.st_uid, found.st_gid)
        os.chmod(upper, stat.S_IMODE(found.st_mode))
        with tempfile.TemporaryFile(dir=upper.parent) as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                packer = Packer(archive)
                for difference in differences(root, image):
                    _pack(packer, archive, root, difference)
            file.seek(0)
            Extraction(target).all(file)
    finally:
        os.close(target)


def _pack(packer: Packer, archive: tarfile.TarFile, root: int, difference: Difference) -> None:
    name = difference.path.lstrip("/")
    if difference.kind == DELETED:
        gone = tarfile.TarInfo(name)
        gone.type = tarfile.CHRTYPE  # 0:0, overlayfs's sign for what is removed
        archive.addfile(gone)
        return
    place = os.dup(root)
    for part in name.split("/"):
        above, place = place, os.open(part, _PLACE, dir_fd=place)
        os.close(above)
    try:
        packer.add(place, name, deep=False)
    finally:
        os.close(place)
