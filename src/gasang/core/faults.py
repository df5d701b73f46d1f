"""What the host refuses while something is done for a client, as an error with a sentence: no file of ours means "not found" to him."""

from __future__ import annotations

import errno
from typing import Final

from gasang.core.errors import GasangError, OutOfSpaceError, PermissionDeniedError

_KINDS: Final[dict[int, tuple[type[GasangError], str]]] = {
    errno.ENOSPC: (OutOfSpaceError, "free some space, or set GASANG_HOME to a larger disk"),
    errno.EDQUOT: (OutOfSpaceError, "free some space, or ask for a larger quota"),
    errno.ENOMEM: (OutOfSpaceError, "end other programs"),
    errno.EMFILE: (OutOfSpaceError, "close some connections, or raise the limit of open files"),
    errno.ENFILE: (OutOfSpaceError, "end other programs"),
    errno.EROFS: (PermissionDeniedError, "set GASANG_HOME to a disk that can be written"),
}


def told(error: OSError | MemoryError) -> GasangError:
    """The error to tell of a failed system call."""
    if isinstance(error, MemoryError):
        return OutOfSpaceError("memory", "the host has none left", _KINDS[errno.ENOMEM][1])
    kind, hint = _KINDS.get(error.errno or 0, (GasangError, "the daemon's log may say more"))
    return kind(str(error.filename or "the host"), (error.strerror or str(error) or type(error).__name__).lower(), hint)
