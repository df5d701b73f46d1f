"""``gasang nbd``: disk images offered to NBD clients, and to this host's kernel."""

from __future__ import annotations

from typing import Final

from gasang.cli.containers.family import Commands, family
from gasang.cli.nbd import ATTACH, SERVE
from gasang.cli.options import Example

COMMANDS: Final[Commands] = {"serve": SERVE, "attach": ATTACH}
SYNTAX, run = family(
    "nbd",
    "Offer disk images over the network, as NBD has it, or as block devices of this host.",
    COMMANDS,
    Example("gasang nbd serve disk.qcow2", "to programs on this host"),
    Example("gasang nbd attach disk.vmdk", "to this host's kernel, whatever the format"),
)
