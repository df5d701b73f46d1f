"""``gasang volume``: volumes of containers and virtual machines."""

from __future__ import annotations

from gasang.cli.containers.family import family
from gasang.cli.containers.volumes import COMMANDS as COMMANDS
from gasang.cli.options import Example

SYNTAX, run = family(
    "volume",
    "Make, list, show and remove volumes; keep, clone and enlarge those that are disks.",
    COMMANDS,
    Example("gasang volume create data", "files that outlive machines"),
    Example("gasang volume create data --size 20G", "a disk for virtual machines"),
    Example("gasang volume ls", "list them"),
)
