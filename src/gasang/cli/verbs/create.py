"""``gasang create``: make a container without starting it."""

from __future__ import annotations

from collections.abc import Collection

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.options import PLATFORM, SHARED
from gasang.cli.containers.places import OWN, headings
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context


def _always(names: Collection[str]) -> bool:
    return True


SYNTAX = Syntax(
    "Make a container from an image without starting it, and print its id.",
    options=(*SHARED, PLATFORM, *OWN),
    arguments=(Argument("IMAGE", "what to make it from", completes="images"),),
    command="what to run inside; without it, what the image says",
    examples=(Example("gasang create --name web -p 8080:80 nginx", "make it; gasang start web starts it"),),
    notes="Options stand before IMAGE; what follows is the command's. An image that is not here is pulled.",
    closes=_always,
    headings=headings(),
)


def run(parsed: Parsed, context: Context) -> int:
    """Make it and print its id. Raises GasangError."""
    from gasang.cli.containers.document import Ends
    from gasang.cli.containers.making import create

    print(create(connect(context), parsed, context, Ends()))
    return 0
