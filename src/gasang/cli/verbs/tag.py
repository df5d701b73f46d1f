"""``gasang tag``: give a container image one more name."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Give a container image one more name.",
    arguments=(Argument("IMAGE", "by name or id", completes="images"), Argument("NAME", "the new one")),
    examples=(Example("gasang tag web:tried localhost:5000/web:1", "so that it can be pushed there"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Name it. Raises GasangError."""
    image, name = parsed.arguments
    connect(context).call("POST", path_of("images", image, "tag"), {"repo": name})
    return 0
