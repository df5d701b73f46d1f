"""``gasang image``: the verbs about images under the names of docker's families, putting away those that nobody uses, and disk images."""

from __future__ import annotations

from typing import Final

from gasang.cli.appliances import COMMANDS as APPLIANCES
from gasang.cli.appliances import sweep
from gasang.cli.containers.family import Commands, Same, family
from gasang.cli.containers.pruning import command
from gasang.cli.disks import COMMANDS as DISKS
from gasang.cli.options import Example

_VERBS: Final = ("build", "history", "load", "pull", "push", "save", "tag")
COMMANDS: Final[Commands] = {
    "ls": Same("images"),
    "rm": Same("rmi"),
    "inspect": Same("inspect", ("--type", "image")),
    "prune": command(
        "image",
        Example("gasang image prune", "those without a name"),
        Example("gasang image prune -a", "all unused ones"),
        also=sweep,
    ),
    **{verb: Same(verb) for verb in _VERBS},
    **DISKS,
    **APPLIANCES,
}
SYNTAX, run = family(
    "image",
    "Convert and check disk images; put away images that nobody uses; also the verbs about images, as docker image has them.",
    COMMANDS,
    Example("gasang image prune", "remove those without a name"),
    Example("gasang image ls", "the same as gasang images"),
    Example("gasang image convert appliance.vmdk web.qcow2", "a disk of another hypervisor"),
)
