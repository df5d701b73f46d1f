"""Files of ``--env-file`` and ``--label-file``: one entry a line; blank lines and those that begin with # say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gasang.cli.containers import values as convert
from gasang.core.errors import UsageError

T = TypeVar("T")


def _entries(text: str, subject: str, convert_line: Callable[[str, str], T]) -> tuple[T, ...]:
    """The entries of the file at path `text`. Raises GasangError about the file or the line at fault."""
    from gasang.cli.files import existing_file

    path = existing_file(text, subject)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{subject} {text}", "it is no UTF-8 text", "mend the file") from error
    stripped = ((number, line.lstrip()) for number, line in enumerate(lines, 1))
    return tuple(convert_line(line, f"{subject} {text}, line {number}") for number, line in stripped if line and not line.startswith("#"))


def variables_in(text: str, subject: str) -> tuple[str, ...]:
    """``NAME=VALUE``, or ``NAME`` for the host's value, a line. Raises GasangError."""
    return _entries(text, subject, convert.variable)


def pairs_in(text: str, subject: str) -> tuple[tuple[str, str], ...]:
    """``NAME=VALUE`` a line. Raises GasangError."""
    return _entries(text, subject, convert.pair)
