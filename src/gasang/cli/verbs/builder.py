"""``gasang builder``: builds, and what they have kept."""

from __future__ import annotations

from typing import Final

from gasang.cli.containers.family import Commands, Same, dispatch, family
from gasang.cli.containers.pruning import command
from gasang.cli.options import Example, Parsed
from gasang.cli.settings import Context

COMMANDS: Final[Commands] = {
    "build": Same("build"),
    "prune": command("build", Example("gasang builder prune -f", "the next build runs every step")),
}
SYNTAX = family(
    "builder",
    "Build images, and forget what builds have kept for the next one.",
    COMMANDS,
    Example("gasang builder prune", "forget the steps that were run"),
)


def run(parsed: Parsed, context: Context) -> int:
    """Do the command. Raises GasangError."""
    return dispatch(parsed, context, COMMANDS)
