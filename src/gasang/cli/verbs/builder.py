"""``gasang builder``: builds, and what they have kept."""

from __future__ import annotations

from typing import Final

from gasang.cli.containers.family import Commands, Same, family
from gasang.cli.containers.pruning import command
from gasang.cli.options import Example

COMMANDS: Final[Commands] = {
    "build": Same("build"),
    "prune": command("build", Example("gasang builder prune -f", "the next build runs every step")),
}
SYNTAX, run = family(
    "builder",
    "Build images, and forget what builds have kept for the next one.",
    COMMANDS,
    Example("gasang builder prune", "forget the steps that were run"),
)
