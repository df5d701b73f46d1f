"""What is bound of a folder: found by descriptors, so that no link in a volume, which containers write to, leads elsewhere."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from gasang.core.errors import GasangError, NotFoundError
from gasang.host.idmapped import cloned_at
from gasang.host.trees import open_beneath


class Part(NamedTuple):
    """What is at a path below `folder`; the folder itself, which may be a file then, where the path is ""."""

    folder: Path
    path: str = ""

    def open(self) -> int:
        """A path descriptor of it. Raises NotFoundError where it is not there, GasangError where it is outside of the folder."""
        try:
            if not self.path:
                return os.open(self.folder, os.O_PATH | os.O_CLOEXEC)
            return self._beneath()
        except OSError as error:
            place = self.folder / self.path
            if error.errno == errno.EXDEV:
                raise GasangError(f"path {place}", f"it escapes {self.folder} by a link or dots", "name a folder in it") from error
            raise NotFoundError(f"cannot access path {place}", (error.strerror or "").lower(), "make it first") from error

    def _beneath(self) -> int:
        root = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_beneath(root, self.path, os.O_PATH)
        finally:
            os.close(root)

    def above(self) -> Part:
        """The folder that it is in."""
        return Part(self.folder, os.path.dirname(self.path)) if self.path else Part(self.folder.parent)

    @property
    def name(self) -> str:
        """How it is called there."""
        return os.path.basename(self.path) or self.folder.name

    def cloned(self, *, recursive: bool) -> int:
        """A descriptor of a detached mount of it. Raises NotFoundError, GasangError, OSError."""
        place = self.open()
        try:
            return cloned_at(place, recursive=recursive)
        finally:
            os.close(place)
