"""``gasang network``: networks of containers and machines."""

from __future__ import annotations

from gasang.cli.containers.family import family
from gasang.cli.containers.networks import COMMANDS as COMMANDS
from gasang.cli.options import Example

SYNTAX, run = family(
    "network",
    "Make, list, show, listen to and remove networks of containers and machines.",
    COMMANDS,
    Example("gasang network create app", "a network of its own"),
    Example("gasang network ls", "list them"),
)
