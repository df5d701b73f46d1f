"""``gasang pause``: freeze machines."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Freeze machines: nothing in them runs until gasang unpause.",
    arguments=(MACHINES,),
    examples=(Example("gasang pause web", "freeze it"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Pause each. Raises GasangError."""
    client = connect(context)
    return for_each(parsed.arguments, lambda name: client.call("POST", path_of("containers", name, "pause")))
