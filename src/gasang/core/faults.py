"""What the host refuses while something is done for a user, as an error with a sentence, by the number of the refusal."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from gasang.core.errors import GasangError, OutOfSpaceError, PermissionDeniedError

Kinds = Mapping[int, tuple[type[GasangError], str]]
"""By error number (errno.h): what it is to the user, and what to do next. ENOMEM is among them, and perhaps OTHERS."""
OTHERS: Final = 0

FOR_CLIENTS: Final[Kinds] = {
    errno.ENOSPC: (OutOfSpaceError, "free some space, or set GASANG_HOME to a larger disk"),
    errno.EDQUOT: (OutOfSpaceError, "free some space, or ask for a larger quota"),
    errno.ENOMEM: (OutOfSpaceError, "end other programs"),
    errno.EMFILE: (OutOfSpaceError, "close some connections, or raise the limit of open files"),
    errno.ENFILE: (OutOfSpaceError, "end other programs"),
    errno.EROFS: (PermissionDeniedError, "set GASANG_HOME to a disk that can be written"),
    OTHERS: (GasangError, "the daemon's log may say more"),
}
"""Of the daemon: no file of ours means "not found" to its clients."""


def known(error: OSError | MemoryError, kinds: Kinds) -> GasangError | None:
    """The error to tell of a failed system call, None where the table does not have it."""
    if isinstance(error, MemoryError):
        return OutOfSpaceError("memory", "the host has none left", kinds[errno.ENOMEM][1])
    kind, hint = kinds.get(error.errno or OTHERS) or kinds.get(OTHERS) or (None, "")
    cause = (error.strerror or str(error) or type(error).__name__).lower()
    return kind(str(error.filename or "the host"), cause, hint) if kind else None


def told(error: OSError | MemoryError) -> GasangError:
    """The error to tell a client of a failed system call."""
    found = known(error, FOR_CLIENTS)
    assert found is not None, "the table has the others"
    return found
