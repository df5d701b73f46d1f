"""``gasang volume``: volumes of containers."""

from __future__ import annotations

from gasang.cli.containers.family import family
from gasang.cli.containers.volumes import COMMANDS as COMMANDS
from gasang.cli.options import Example

SYNTAX, run = family(
    "volume",
    "Make, list, show and remove volumes of containers.",
    COMMANDS,
    Example("gasang volume create data", "files that outlive machines"),
    Example("gasang volume ls", "list them"),
)
