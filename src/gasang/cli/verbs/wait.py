"""``gasang wait``: wait until machines end."""

from __future__ import annotations

from typing import Any

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Wait until machines end, and print their exit codes.",
    arguments=(MACHINES,),
    examples=(Example("gasang wait job", "print 0 when it has ended well"),),
)


def _code(name: str, answer: Any) -> str:
    return str(answer["StatusCode"])


def run(parsed: Parsed, context: Context) -> int:
    """Wait for each in turn. Raises GasangError."""
    client = connect(context)
    return for_each(parsed.arguments, lambda name: client.call("POST", path_of("containers", name, "wait")), _code)
