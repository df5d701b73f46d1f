"""Where a file system puts the directories made in a folder.

ext4 puts a new directory beside its parent. Where much was deleted there a short while ago (images, containers) it looks at each inode
it may not use yet, and making a file costs a third of a millisecond instead of ten microseconds. A folder marked as the top of
hierarchies has its directories spread over the disk instead (chattr(1), attribute T).
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

_GETFLAGS = 0x80086601
_SETFLAGS = 0x40086602
TOP_OF_HIERARCHIES = 0x00020000
"""FS_TOPDIR_FL."""


def spread_children(folder: Path) -> None:
    """Have what is made in the folder be spread. Where the host or the file system knows no such thing, nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl

    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = struct.unpack("l", fcntl.ioctl(descriptor, _GETFLAGS, bytes(8)))[0]
            if not flags & TOP_OF_HIERARCHIES:
                fcntl.ioctl(descriptor, _SETFLAGS, struct.pack("l", flags | TOP_OF_HIERARCHIES))
        finally:
            os.close(descriptor)
