"""``gasang system``: the engine's use of the disk, and tidying up."""

from __future__ import annotations

from gasang.cli.containers.family import family
from gasang.cli.containers.system import COMMANDS as COMMANDS
from gasang.cli.options import Example

SYNTAX, run = family(
    "system",
    "Show what the engine's things take of the disk, and put away what nobody uses.",
    COMMANDS,
    Example("gasang system df", "what takes how much"),
    Example("gasang system prune", "remove what nobody uses"),
)
