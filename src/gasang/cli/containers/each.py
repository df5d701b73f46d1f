"""A verb that does the same to several machines: each is tried, each that worked is named, and the first failure gives the code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from gasang.cli.exits import OK, sentence
from gasang.cli.options import Argument
from gasang.core.errors import GasangError

MACHINES = Argument("MACHINE", "by name, id, or the beginning of an id", repeated=True, completes="machines")
MACHINE = Argument("MACHINE", "by name, id, or the beginning of an id", completes="machines")


def for_each(names: Iterable[str], do: Callable[[str], object], show: Callable[[str, object], str] = lambda name, _: name) -> int:
    """Do it to each, print what `show` makes of the name and what came back; the exit code."""
    code = OK
    for name in names:
        try:
            answer = do(name)
        except GasangError as error:
            print(f"gasang: {sentence(error)}", file=sys.stderr)
            code = code or error.exit_code
        else:
            print(show(name, answer), flush=True)
    return code
