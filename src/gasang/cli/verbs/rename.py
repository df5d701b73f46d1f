"""``gasang rename``: give a machine another name."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Give a machine another name.",
    arguments=(MACHINE, Argument("NAME", "the new one")),
    examples=(Example("gasang rename web old-web", "web is free again"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Rename it. Raises GasangError."""
    name, new = parsed.arguments
    connect(context).call("POST", path_of("containers", name, "rename"), {"name": new})
    return 0
