"""What a machine boots from: the files of an image that is in the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BootFiles:
    """Paths of an image's kernel, initramfs and raw root disk, and the kernel's command line."""

    kernel: Path
    initrd: Path
    disk: Path
    append: str
