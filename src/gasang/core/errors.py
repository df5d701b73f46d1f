"""The errors a user can meet, as one tree.

    GasangError                 1   failed
    ├── UsageError              2   the command line or a file the user wrote is wrong
    ├── NotFoundError           3   the named thing does not exist
    ├── StateError              4   the thing exists, in a state that does not allow this
    ├── PermissionDeniedError   5   the host does not let us
    ├── UnsupportedError        6   this host or this build cannot do it
    ├── OutOfSpaceError         7   disk, memory or quota is exhausted
    ├── TimedOutError           8   no progress within the time allowed
    ├── NoDaemonError           9   the daemon is needed and does not run
    ├── BadInputError           1   a file, an index or a peer's answer is damaged, foreign or forged
    └── MachineDiedError      125   a machine ended before what it was to do was done

Each names its subject ("image debian:potato"), the cause, and a hint: what to do next. Nothing else is shown to a user
without ``--debug``.
"""

from __future__ import annotations

from typing import ClassVar


class GasangError(Exception):
    """A failure to be told to the user as one sentence."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, subject: str, cause: str, hint: str = "") -> None:
        super().__init__(subject, cause, hint)
        self.subject = subject
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        sentence = f"{self.subject}: {self.cause}"
        return f"{sentence}; {self.hint}" if self.hint else sentence


class UsageError(GasangError):
    """The command line or a file the user wrote is wrong."""

    exit_code = 2
    http_status = 400


class NotFoundError(GasangError):
    """The named thing does not exist."""

    exit_code = 3
    http_status = 404


class StateError(GasangError):
    """The thing exists, in a state that does not allow this."""

    exit_code = 4
    http_status = 409


class PermissionDeniedError(GasangError):
    """The host does not let us."""

    exit_code = 5
    http_status = 403


class UnsupportedError(GasangError):
    """Neither this host nor this build can do it."""

    exit_code = 6
    http_status = 501


class OutOfSpaceError(GasangError):
    """Disk, memory or quota is exhausted."""

    exit_code = 7
    http_status = 507


class TimedOutError(GasangError):
    """No progress within the time allowed."""

    exit_code = 8
    http_status = 504


class NoDaemonError(GasangError):
    """The daemon is needed and does not run."""

    exit_code = 9
    http_status = 503


class BadInputError(GasangError):
    """A file, an index or a peer's answer is damaged, foreign or forged."""

    http_status = 422


class MachineDiedError(GasangError):
    """A machine ended before what it was to do was done."""

    exit_code = 125
