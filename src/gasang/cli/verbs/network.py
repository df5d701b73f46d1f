"""``gasang network``: networks of containers."""

from __future__ import annotations

from gasang.cli.containers.family import dispatch
from gasang.cli.containers.networks import COMMANDS
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Make, list, show and remove networks of containers.",
    command=f"one of {', '.join(COMMANDS)}; gasang network COMMAND --help tells more",
    examples=(Example("gasang network create app", "a network of its own"), Example("gasang network ls", "list them")),
)


def run(parsed: Parsed, context: Context) -> int:
    """Do the command. Raises GasangError."""
    return dispatch(parsed, context, COMMANDS)
