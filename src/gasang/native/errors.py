"""What a program in `native` Python can get wrong."""

from __future__ import annotations

from gasang.core.errors import GasangError


class NativeError(GasangError):
    """A rule of docs/reference/native.md is broken: says file, line and rule."""

    def __init__(self, file: str, line: int, rule: str) -> None:
        super().__init__(f"{file}:{line}", rule)


class Fault(Exception):
    """`raise Fault`: the function and its callers end; the caller that attempted it learns of it."""
