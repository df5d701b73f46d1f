"""How it is told that something in a lower layer is gone.

To overlayfs: kernel Documentation/filesystems/overlayfs.rst. In a layer's archive: image-spec layer.md, "Whiteouts".
"""

from __future__ import annotations

import os
import stat
from enum import Enum

from gasang.host import users

WHITEOUT = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
INTERNAL = b".wh..wh."
"""Begins names that AUFS kept for itself."""


class Form(Enum):
    """Where overlayfs looks for its notes: as root, or in a user namespace (mount option userxattr)."""

    TRUSTED = "trusted"
    USER = "user"

    @property
    def opaque(self) -> str:
        """The attribute of a directory that hides the ones below it."""
        return f"{self.value}.overlay.opaque"


def white_out(folder: int, name: str | bytes) -> None:
    """Have what is below `name` in the folder of this descriptor be gone.

    Where the file system takes no device 0:0 (another overlayfs, a home without privileges) it is an empty file with an attribute, in a
    folder that says it has such. Raises OSError, FileExistsError where the name is taken.
    """
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=folder)
    except PermissionError:
        form = our_form()
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0, dir_fd=folder)
        try:
            os.setxattr(descriptor, f"{form.value}.overlay.whiteout", b"y")
        finally:
            os.close(descriptor)
        place = f"/proc/self/fd/{folder}"
        if form.opaque not in os.listxattr(place):
            os.setxattr(place, form.opaque, b"x")


def our_form() -> Form:
    """What this process can make."""
    return Form.TRUSTED if os.geteuid() == 0 and users.are_the_hosts() else Form.USER


def owns_files(form: Form) -> bool:
    """Whether files of a layer in this form get the owners that its archive names: root of the host gives them, or of many users."""
    return form is Form.TRUSTED or (os.geteuid() == 0 and not users.are_the_hosts() and not users.is_alone())
