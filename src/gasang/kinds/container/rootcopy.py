"""The layers of a root file system copied into one folder: for hosts whose kernel does not give us overlayfs.

A layer is as overlayfs has it: a character device 0:0, or an empty file with the attribute `overlay.whiteout`, removes what is below, a
folder with the attribute `overlay.opaque` hides it.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from gasang.core.errors import OutOfSpaceError
from gasang.kinds.container.planning.order import FolderRoot, OverlayRoot

WHITEOUT: Final = ("trusted.overlay.whiteout", "user.overlay.whiteout")
OPAQUE: Final = ("trusted.overlay.opaque", "user.overlay.opaque")


def copy_layers(root: OverlayRoot) -> FolderRoot:
    """Copy all layers, the lowest first, to the overlay's target. Raises OutOfSpaceError if that cannot be done."""
    target = Path(root.target)
    layers = [*reversed(root.lower), *([root.upper] if root.upper else [])]
    try:
        for layer in layers:
            _copy_folder(Path(layer), target, {})
    except OSError as error:
        cause = f"its layers cannot be copied there ({error.strerror})"
        raise OutOfSpaceError(f"root file system {target}", cause, "free some space, or use a host with overlayfs") from error
    return FolderRoot(str(target))


def _copy_folder(source: Path, target: Path, links: dict[tuple[int, int], Path]) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            _copy_entry(Path(entry.path), target / entry.name, status, links)
    _copy_metadata(source, target, source.lstat())


def _copy_entry(source: Path, target: Path, status: os.stat_result, links: dict[tuple[int, int], Path]) -> None:
    if stat.S_ISDIR(status.st_mode):
        if target.is_symlink() or not target.is_dir() or _is_opaque(source):
            _remove(target)
            target.mkdir()
        _copy_folder(source, target, links)
        return
    _remove(target)
    if _is_whiteout(source, status):
        return
    first = links.setdefault((status.st_dev, status.st_ino), target)
    if first is not target:
        os.link(first, target, follow_symlinks=False)
        return
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(source, target, follow_symlinks=False)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    _copy_metadata(source, target, status)


def _is_whiteout(source: Path, status: os.stat_result) -> bool:
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return True
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    return any(name in WHITEOUT for name in os.listxattr(source, follow_symlinks=False))


def _is_opaque(folder: Path) -> bool:
    names = os.listxattr(folder, follow_symlinks=False)
    return any(name in names and os.getxattr(folder, name, follow_symlinks=False) == b"y" for name in OPAQUE)


def _copy_metadata(source: Path, target: Path, status: os.stat_result) -> None:
    """Owner first: changing it takes set-user-id bits and capabilities away."""
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        target.chmod(stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if name not in OPAQUE:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
