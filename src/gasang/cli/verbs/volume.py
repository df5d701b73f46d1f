"""``gasang volume``: volumes of containers."""

from __future__ import annotations

from gasang.cli.containers.family import dispatch, family
from gasang.cli.containers.volumes import COMMANDS as COMMANDS
from gasang.cli.options import Example, Parsed
from gasang.cli.settings import Context

SYNTAX = family(
    "volume",
    "Make, list, show and remove volumes of containers.",
    COMMANDS,
    Example("gasang volume create data", "files that outlive machines"),
    Example("gasang volume ls", "list them"),
)


def run(parsed: Parsed, context: Context) -> int:
    """Do the command. Raises GasangError."""
    return dispatch(parsed, context, COMMANDS)
