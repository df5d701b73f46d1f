"""``gasang cp``: copy files into and out of a machine."""

from __future__ import annotations

from gasang.cli.containers.daemon import connect
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

SYNTAX = Syntax(
    "Copy files into and out of a machine, whether it runs or not.",
    arguments=(
        Argument("SOURCE", "MACHINE:PATH, a path of the host, or - for a tar archive"),
        Argument("TARGET", "the same; one of the two is a machine's"),
    ),
    examples=(
        Example("gasang cp web:/etc/nginx/nginx.conf .", "out of it"),
        Example("gasang cp ./site/. web:/usr/share/nginx/html", "the contents of a folder into it"),
        Example("gasang cp db:/var/lib/db - | gzip > db.tar.gz", "as an archive"),
    ),
    notes="""
Folders are copied with all that is in them. What is copied in belongs to root, what is copied out to whoever runs this. A path of the
host that has a colon is written with ./ or / before it.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Copy. Raises UsageError unless one end is a machine's, GasangError, OSError."""
    from gasang.cli.containers.copying import copy_in, copy_out, place

    source, goal = map(place, parsed.arguments)
    if bool(source.machine) == bool(goal.machine):
        raise UsageError("gasang cp", "one of the two has to be a machine's", "write it as MACHINE:PATH")
    if goal.machine:
        copy_in(connect(context), source.path, goal)
    else:
        copy_out(connect(context), source, goal.path)
    return 0
