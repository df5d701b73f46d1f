"""``gasang network``: networks of containers."""

from __future__ import annotations

from gasang.cli.containers.family import dispatch, family
from gasang.cli.containers.networks import COMMANDS as COMMANDS
from gasang.cli.options import Example, Parsed
from gasang.cli.settings import Context

SYNTAX = family(
    "network",
    "Make, list, show and remove networks of containers.",
    COMMANDS,
    Example("gasang network create app", "a network of its own"),
    Example("gasang network ls", "list them"),
)


def run(parsed: Parsed, context: Context) -> int:
    """Do the command. Raises GasangError."""
    return dispatch(parsed, context, COMMANDS)
