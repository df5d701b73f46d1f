"""``gasang pull``: make an image ready to run."""

from __future__ import annotations

from gasang.cli.options import Argument, Example, Parsed, Syntax, switch
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context

AGAIN = switch("again", "make it anew although it is here, with the packages the mirror has now")

SYNTAX = Syntax(
    "Make an image ready to run: download, unpack, and configure its packages inside a machine.",
    options=(AGAIN,),
    arguments=(Argument("IMAGE", "such as debian:trixie or debian:sid", completes="images"),),
    examples=(
        Example("gasang pull debian:trixie", "Debian 13 for riscv64, about 110 MB to download"),
        Example("gasang pull --again debian:trixie", "the same, from what the mirror has now"),
    ),
    notes="""
Packages come from a Debian mirror (the setting mirror, GASANG_MIRROR), their signatures and hashes verified. An interrupted
download goes on where it ended.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Pull unless it is here; print the reference."""
    from gasang.kinds.vm.pull import ensure

    with open_progress(context) as progress:
        image = ensure(parsed.arguments[0], progress, again=bool(parsed.get(AGAIN)), origin=context.origin())
    print(image.reference)
    return 0
