"""``gasang snapshot``: snapshots of virtual machines."""

from __future__ import annotations

from gasang.cli.containers.family import family
from gasang.cli.containers.snapshots import COMMANDS as COMMANDS
from gasang.cli.options import Example

SYNTAX, run = family(
    "snapshot",
    "Make, list and remove snapshots of virtual machines.",
    COMMANDS,
    Example("gasang snapshot create web base", "keep memory, disk and devices; it goes on"),
    Example("gasang restore web base", "go back to it"),
)
