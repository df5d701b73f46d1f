"""``gasang backup``: backups of machines, containers and volumes."""

from __future__ import annotations

from gasang.cli.containers.backups import COMMANDS as COMMANDS
from gasang.cli.containers.family import family
from gasang.cli.options import Example

SYNTAX, run = family(
    "backup",
    "Keep machines and volumes in a folder of backups, check them and make them anew.",
    COMMANDS,
    Example("gasang backup create web --to /mnt/backups --incremental", "a machine, with its disks"),
    Example("gasang backup ls --from /mnt/backups", "what is there"),
)
