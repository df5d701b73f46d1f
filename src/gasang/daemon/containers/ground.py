"""The layer between an image and a container's own: places for what is mounted into every container, and the marks that programs look for.

One for all containers. With it these places are neither what a container has changed nor part of an image committed from it, as Docker
has it. Where an image has something unusual at a folder of it (`etc` as a link, with other rights) it goes without, so that nothing is
hidden.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FOLDERS: Final = {"dev": False, "etc": True, "proc": False, "sys": False}
"""The folders; True where an image's own must have the same owner and rights, for it stays to be seen."""
INNER: Final = ("dev/pts", "dev/shm")
FILES: Final = {".dockerenv": 0o755, "dev/console": 0o755, "etc/hostname": 0o755, "etc/hosts": 0o755, "etc/resolv.conf": 0o755}
LINKS: Final = {"etc/mtab": "/proc/mounts"}
_RIGHTS: Final = 0o755


def make_ground(folder: Path) -> None:
    """Make the layer, unless it is there."""
    if folder.exists():
        return
    fresh = folder.with_name(f"{folder.name}.new")
    fresh.mkdir(parents=True, exist_ok=True)
    fresh.chmod(_RIGHTS)
    for name in (*FOLDERS, *INNER):
        (fresh / name).mkdir(exist_ok=True)
        (fresh / name).chmod(_RIGHTS)
    for name, rights in FILES.items():
        (fresh / name).touch()
        (fresh / name).chmod(rights)
    for name, target in LINKS.items():
        (fresh / name).unlink(missing_ok=True)
        (fresh / name).symlink_to(target)
    fresh.rename(folder)  # whole or not at all


def fits(layers: Sequence[Path]) -> bool:
    """Whether an image of these layers, the uppermost first, looks the same with the ground on top."""
    return all(_same(layers, name, exact) for name, exact in FOLDERS.items())


def _same(layers: Sequence[Path], name: str, exact: bool) -> bool:
    for layer in layers:
        try:
            found = os.lstat(layer / name)
        except FileNotFoundError:
            continue
        usual = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, _RIGHTS)
        return stat.S_ISDIR(found.st_mode) and (usual or not exact)
    return True
