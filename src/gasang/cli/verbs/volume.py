"""``gasang volume``: volumes of containers."""

from __future__ import annotations

from gasang.cli.containers.family import dispatch
from gasang.cli.containers.volumes import COMMANDS
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Make, list, show and remove volumes of containers.",
    command=f"one of {', '.join(COMMANDS)}; gasang volume COMMAND --help tells more",
    examples=(Example("gasang volume create data", "files that outlive machines"), Example("gasang volume ls", "list them")),
)


def run(parsed: Parsed, context: Context) -> int:
    """Do the command. Raises GasangError."""
    return dispatch(parsed, context, COMMANDS)
