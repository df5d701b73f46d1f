"""``gasang rm``: remove machines."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.settings import Context

FORCE = switch("force", "also those that run; they are killed", short="f")
VOLUMES = switch("volumes", "their anonymous volumes as well", short="v")

SYNTAX = Syntax(
    "Remove machines that have ended, with what they have written.",
    options=(FORCE, VOLUMES),
    arguments=(MACHINES,),
    examples=(Example("gasang rm web", "remove one that has ended"), Example("gasang rm -f web", "end and remove it")),
)


def run(parsed: Parsed, context: Context) -> int:
    """Remove each. Raises GasangError."""
    client = connect(context)
    query = {"force": int(parsed.get(FORCE)), "v": int(parsed.get(VOLUMES))}
    return for_each(parsed.arguments, lambda name: client.call("DELETE", path_of("containers", name), query))
