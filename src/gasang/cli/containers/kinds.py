"""Which kind of image a reference means: those of virtual machines are Debian's suites, all others are containers'."""

from __future__ import annotations

from typing import Final

from gasang.cli.options import Parsed, plain_text, switch, value
from gasang.core.errors import UsageError

VM = switch("vm", "the image of a virtual machine")
CONTAINER = switch("container", "the image of containers")
_ARCHITECTURE: Final = "the virtual machine's architecture (amd64 where the processor runs it, else riscv64)"
ARCH = value("arch", "ARCH", _ARCHITECTURE, plain_text, choices=("riscv64", "amd64"))
RULE: Final = """
A name with a registry is a container image's, debian:SUITE without one the image of a virtual machine that is made from Debian's
packages; any other name is a container image's, of Docker Hub. --vm and --container decide it otherwise."""


def is_container(text: str, parsed: Parsed) -> bool:
    """Whether `text` names a container image. Raises UsageError for what is no reference, or for both switches at once."""
    if parsed.get(VM) and parsed.get(CONTAINER):
        raise UsageError("options --vm and --container", "an image is of one kind", "leave one of the two out")
    if parsed.get(CONTAINER) and parsed.get(ARCH):
        raise UsageError("option --arch", "it is for virtual machines", "use --platform, or leave --container out")
    if parsed.get(VM) or parsed.get(CONTAINER) or parsed.get(ARCH):
        return parsed.get(CONTAINER)
    from gasang.images.reference import parse_reference

    if text.startswith("sha256:") or len(text) == 64:
        return True
    reference = parse_reference(text)
    return bool(reference.registry or reference.digest) or reference.name != "debian" or reference.tag == "latest"
