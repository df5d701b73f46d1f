"""``gasang image prune``: images of the daemon, and what imports have left."""

from __future__ import annotations

from typing import Final

from gasang.cli.appliances import sweep
from gasang.cli.containers.family import Commands
from gasang.cli.containers.pruning import command
from gasang.cli.options import Example

COMMANDS: Final[Commands] = {
    "prune": command(
        "image",
        Example("gasang image prune", "those without a name"),
        Example("gasang image prune -a", "all unused ones"),
        also=sweep,
    ),
}
