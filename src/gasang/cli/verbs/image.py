"""``gasang image``: the verbs about images under the names of docker's families, putting away those that nobody uses, and disk images."""

from __future__ import annotations

from typing import Final

from gasang.cli.containers.family import Apart, Commands, Same, family
from gasang.cli.disks import COMMANDS as DISKS
from gasang.cli.options import Example

_VERBS: Final = ("build", "history", "load", "pull", "push", "save", "tag")
_TAKEN_IN: Final = "Take in a disk image or an appliance under a name; or make a container image of an archive of files."
_GIVEN_OUT: Final = "Write a disk, imported disks or a machine's image as a disk image or an appliance."
COMMANDS: Final[Commands] = {
    "ls": Same("images"),
    "rm": Same("rmi"),
    "inspect": Same("inspect", ("--type", "image")),
    "prune": Apart("gasang.cli.containers.image_pruning", "Remove images without a name that nobody uses, and print their names."),
    **{verb: Same(verb) for verb in _VERBS},
    **DISKS,
    "import": Apart("gasang.cli.appliances", _TAKEN_IN),
    "export": Apart("gasang.cli.appliances", _GIVEN_OUT),
}
SYNTAX, run = family(
    "image",
    "Convert and check disk images; put away images that nobody uses; also the verbs about images, as docker image has them.",
    COMMANDS,
    Example("gasang image prune", "remove those without a name"),
    Example("gasang image ls", "the same as gasang images"),
    Example("gasang image convert appliance.vmdk web.qcow2", "a disk of another hypervisor"),
)
