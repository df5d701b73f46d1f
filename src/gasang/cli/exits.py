"""What each end of a command means to the shell, in one place.

    0 ok · 1 failed · 2 usage · 3 not found · 4 wrong state · 5 permission · 6 unsupported here · 7 out of space ·
    8 timeout · 9 no daemon · 125 the machine died before its command ended · 126, 127 as the guest's shell has them ·
    130 interrupted · 141 nobody reads the output · 128 + the number of another signal · else what the guest's command returned

Errors of our own bring their code and sentence along; those of the host are translated here. What is left is a fault of
gasang itself, and says so.
"""

from __future__ import annotations

import errno
from typing import Final

from gasang.cli.signals import Ended
from gasang.core.errors import GasangError, MachineDiedError, NotFoundError, OutOfSpaceError, PermissionDeniedError
from gasang.core.faults import Kinds, known

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
MACHINE_DIED: Final = MachineDiedError.exit_code
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141
SIGNALLED: Final = 128
"""Plus the signal's number."""

_HOST_ERRORS: Final[Kinds] = {
    errno.ENOENT: (NotFoundError, "check the name"),
    errno.ENOTDIR: (NotFoundError, "check the name"),
    errno.EISDIR: (NotFoundError, "name a file, not a folder"),
    errno.EACCES: (PermissionDeniedError, "change its permissions or run as a user who may"),
    errno.EPERM: (PermissionDeniedError, "run as a user who may"),
    errno.EROFS: (PermissionDeniedError, "choose a place that can be written"),
    errno.ENOSPC: (OutOfSpaceError, "free some space (gasang doctor shows where)"),
    errno.EDQUOT: (OutOfSpaceError, "free some space or ask for a larger quota"),
    errno.ENOMEM: (OutOfSpaceError, "give the machine less --memory or close other programs"),
}


def translate(error: BaseException) -> GasangError | None:
    """`error` as one of ours: itself, or what it means if it comes from the host; None if it is a fault of gasang."""
    if isinstance(error, GasangError):
        return error
    return known(error, _HOST_ERRORS) if isinstance(error, OSError | MemoryError) else None


def exit_code(error: BaseException) -> int:
    """The code that a command ends with because of `error`."""
    if isinstance(error, Ended):
        return SIGNALLED + error.number
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS
    meant = translate(error)
    return meant.exit_code if meant else FAILED


def sentence(error: BaseException) -> str:
    """The one line a user sees for `error`; "" for those that need none. Control characters are shown, not obeyed."""
    if isinstance(error, BrokenPipeError):
        return ""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    meant = translate(error)
    text = str(meant or f"a fault of gasang itself ({type(error).__name__}: {error}); add --debug for its traceback and report it")
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
