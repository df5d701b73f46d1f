"""``gasang pull``: make an image ready to run."""

from __future__ import annotations

from gasang.cli.containers.kinds import ARCH, CONTAINER, RULE, VM, is_container
from gasang.cli.containers.options import PLATFORM, QUIET
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

AGAIN = switch("again", "make it anew although it is here, with the packages the mirror has now (virtual machines)")

SYNTAX = Syntax(
    "Make an image ready to run: download and unpack it; one of a virtual machine is made of packages and configured inside it.",
    options=(VM, ARCH, CONTAINER, AGAIN, PLATFORM, QUIET),
    arguments=(Argument("IMAGE", "such as debian:trixie or docker.io/library/debian:trixie", completes="images"),),
    examples=(
        Example("gasang pull debian:trixie", "Debian 13, a virtual machine, about 110 MB to download"),
        Example("gasang pull --vm --arch amd64 debian:trixie", "the same for amd64, whatever this host runs"),
        Example(
            "gasang pull --container debian:trixie", "Debian 13 for containers, from Docker Hub or, where that is out of reach, packages"
        ),
        Example("gasang pull localhost:5000/web:1", "from a registry on this host"),
        Example("gasang pull --again debian:trixie", "the first, from what the mirror has now"),
    ),
    notes=f"""{RULE} Packages come from a Debian mirror (the setting mirror, GASANG_MIRROR), their signatures and hashes verified, layers
from registries with their digests. The setting debian (GASANG_DEBIAN) says where container images of Debian's suites come from. An
interrupted download goes on where it ended.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Pull unless it is here; print the reference. Raises GasangError."""
    text, context = parsed.arguments[0], context.silent() if parsed.get(QUIET) else context
    if is_container(text, parsed):
        if parsed.get(AGAIN):
            raise UsageError("option --again", "a container image is always compared with its registry's", "leave it out")
        from gasang.cli.containers.daemon import connect
        from gasang.cli.containers.transfers import pull
        from gasang.images.reference import parse_reference

        pull(connect(context), text, parsed.get(PLATFORM), context)
        print(parse_reference(text).qualified().familiar())
        return 0
    if parsed.get(PLATFORM):
        raise UsageError("option --platform", "it is for container images", "use --arch, or add --container")
    from gasang.kinds.vm.platforms import default_architecture
    from gasang.kinds.vm.pull import ensure

    architecture = parsed.get(ARCH) or default_architecture()
    with open_progress(context) as progress:
        image = ensure(text, progress, again=parsed.get(AGAIN), origin=context.origin(), architecture=architecture)
    print(image.reference)
    return 0
