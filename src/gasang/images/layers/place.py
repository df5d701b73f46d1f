"""Where the unpacker stands, for its parts in Python: the entry's name, its directory, and what is said when it cannot be made."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, GasangError
from gasang.images.layers.create import parent_of
from gasang.images.layers.refusals import REFUSALS
from gasang.images.layers.walk import REFUSING
from gasang.images.spool import out_of_space

_IMAGES_FAULT = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EMLINK, errno.EILSEQ)


class Place:
    """The native unpacker's state, and the folder and the subject it is about."""

    def __init__(self, state: Any, folder: Path, subject: str) -> None:
        self.state = state
        self.folder = folder
        self.subject = subject

    @property
    def name(self) -> bytes:
        """The last component of the entry's path."""
        return bytes(self.state.path[self.state.base : self.state.path_length])

    @property
    def path(self) -> bytes:
        """The entry's path."""
        return bytes(self.state.path[: self.state.path_length])

    def go_to(self, path: bytes) -> bytes:
        """Make a path the present one; its last component."""
        name = path.rpartition(b"/")[2]
        ctypes.memmove(self.state.path, path + b"\0", len(path) + 1)
        self.state.base, self.state.path_length = len(path) - len(name), len(path)
        return name

    def parent(self) -> int:
        """The directory of the entry, made if it is not there. Raises BadInputError, OSError."""
        found = int(parent_of(self.state, True))
        if found < REFUSING:
            raise self.refusal(REFUSING - found)
        if found < 0:
            raise OSError(-found, os.strerror(-found))
        return found

    def shown(self) -> str:
        """The path, safe to show."""
        text = self.path.decode("utf-8", "replace")[:200]
        return "".join(sign if sign.isprintable() else "?" for sign in text)

    def refusal(self, rule: int) -> BadInputError:
        """The error of a rule broken."""
        cause = REFUSALS[rule].format(name=self.shown() or "an entry")
        return BadInputError(self.subject, cause, "do not use it: it is damaged or hostile")

    def host_error(self, fault: OSError) -> GasangError:
        """The error of a system call that failed."""
        if fault.errno in _IMAGES_FAULT:
            return BadInputError(self.subject, f"{self.shown()} in it cannot be made ({fault.strerror})", "pull another image")
        told = out_of_space(fault, self.folder)
        if type(told) is GasangError:
            return GasangError(self.subject, f"{self.shown()} cannot be made ({fault.strerror})", "check the disk, then pull it again")
        return told
