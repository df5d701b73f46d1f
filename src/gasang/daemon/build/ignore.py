"""Which files of a build context are left out (.dockerignore): patterns as in the Dockerfile reference. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from gasang.core.errors import UsageError

PATTERNS_MAX: Final = 10_000


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression: ``**`` is any number of folders, ``*`` and ``?`` do not cross one."""
    made, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern[at : at + 1] == "/":
                at += 1
                made += "(?:.*/)?"
            else:
                made += ".*"
            continue
        if char == "*":
            made += "[^/]*"
        elif char == "?":
            made += "[^/]"
        elif char == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            made += f"[{inside}]"
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            made += re.escape(pattern[at])
        else:
            made += re.escape(char)
        at += 1
    try:
        return re.compile(f"{made}(?:/.*)?", re.DOTALL)
    except re.error as error:
        raise UsageError(f".dockerignore pattern {pattern[:60]!r}", f"it is malformed ({error})", "correct it") from error


class Ignore:
    """The patterns of a file; the last that fits a path decides."""

    def __init__(self, text: str) -> None:
        """Read the patterns. Raises UsageError."""
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        lines = text.removeprefix("\ufeff").splitlines()
        if len(lines) > PATTERNS_MAX:
            raise UsageError(".dockerignore", f"it has more than {PATTERNS_MAX} lines", "shorten it")
        for line in lines:
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            keeps = pattern.startswith("!")
            clean = posixpath.normpath(pattern.removeprefix("!").strip()).lstrip("/")
            if clean in ("", "."):
                continue
            self._rules.append((keeps, _expression(clean)))

    def leaves_out(self, path: str) -> bool:
        """Whether a file of the context, by its relative path, is left out."""
        result = False
        for keeps, expression in self._rules:
            if expression.fullmatch(path):
                result = not keeps
        return result
