"""``gasang push``: give a container image to a registry."""

from __future__ import annotations

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.options import QUIET
from gasang.cli.containers.transfers import push
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Give a container image to the registry that its name begins with.",
    options=(QUIET,),
    arguments=(Argument("IMAGE", "by name", completes="images"),),
    examples=(Example("gasang push localhost:5000/web:1", "to a registry on this host"),),
    notes="The user's name and password are those of gasang login (or docker login): of ~/.docker/config.json and the helpers it names.",
)


def run(parsed: Parsed, context: Context) -> int:
    """Push it; print the reference. Raises GasangError."""
    push(connect(context), parsed.arguments[0], context.silent() if parsed.get(QUIET) else context)
    print(parsed.arguments[0])
    return 0
