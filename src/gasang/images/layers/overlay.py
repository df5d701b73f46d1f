"""How it is told that something in a lower layer is gone.

To overlayfs: kernel Documentation/filesystems/overlayfs.rst. In a layer's archive: image-spec layer.md, "Whiteouts".
"""

from __future__ import annotations

import os
from enum import Enum

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


def our_form() -> Form:
    """What this process can make."""
    return Form.TRUSTED if os.geteuid() == 0 else Form.USER
