"""``gasang nbd``: disk images offered to NBD clients."""

from __future__ import annotations

from typing import Final

from gasang.cli.containers.family import Commands, family
from gasang.cli.nbd import SERVE
from gasang.cli.options import Example

COMMANDS: Final[Commands] = {"serve": SERVE}
SYNTAX, run = family(
    "nbd",
    "Offer disk images over the network, as NBD has it.",
    COMMANDS,
    Example("gasang nbd serve disk.qcow2", "to programs on this host"),
    Example("gasang nbd serve disk.vmdk", "whatever its format"),
)
