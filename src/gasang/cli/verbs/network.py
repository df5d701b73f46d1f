"""``gasang network``: networks of containers."""

from __future__ import annotations

from gasang.cli.containers.family import family
from gasang.cli.containers.networks import COMMANDS as COMMANDS
from gasang.cli.options import Example

SYNTAX, run = family(
    "network",
    "Make, list, show and remove networks of containers.",
    COMMANDS,
    Example("gasang network create app", "a network of its own"),
    Example("gasang network ls", "list them"),
)
