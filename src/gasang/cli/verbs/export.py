"""``gasang export``: a machine's files as one archive."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.containers.saving import OUTPUT, save_to
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Write all files of a machine to a tar archive, without volumes and settings.",
    options=(OUTPUT,),
    arguments=(MACHINE,),
    examples=(
        Example("gasang export -o web.tar web", "its root file system"),
        Example("gasang export web | gasang import - web:flat", "as an image of one layer"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Write the archive. Raises GasangError, OSError."""
    client, path = connect(context), path_of("containers", parsed.arguments[0], "export")
    save_to(parsed.get(OUTPUT), lambda: client.open("GET", path), parsed.verb, context)
    return 0
