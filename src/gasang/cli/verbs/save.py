"""``gasang save``: container images as one archive."""

from __future__ import annotations

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.saving import OUTPUT, save_to
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Write container images to an archive that gasang load and docker load read.",
    options=(OUTPUT,),
    arguments=(Argument("IMAGE", "by name or id", repeated=True, completes="images"),),
    examples=(
        Example("gasang save -o web.tar web:1", "one image"),
        Example("gasang save a b | gzip > both.tar.gz", "two of them, compressed"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Write the archive. Raises GasangError, OSError."""
    client, names = connect(context), list(parsed.arguments)
    save_to(parsed.get(OUTPUT), lambda: client.open("GET", "/images/get", {"names": names}), parsed.verb, context)
    return 0
