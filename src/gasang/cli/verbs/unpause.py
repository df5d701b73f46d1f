"""``gasang unpause``: let frozen machines go on."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Let frozen machines go on.",
    arguments=(MACHINES,),
    examples=(Example("gasang unpause web", "let it go on"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Unpause each. Raises GasangError."""
    client = connect(context)
    return for_each(parsed.arguments, lambda name: client.call("POST", path_of("containers", name, "unpause")))
