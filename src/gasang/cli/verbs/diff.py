"""``gasang diff``: what a machine has changed of its image's files."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.output import Column, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

KINDS = ("changed", "added", "deleted")
"""By the API's number."""

SYNTAX = Syntax(
    "Show which files a machine has added, changed or deleted.",
    options=(FORMAT,),
    arguments=(MACHINE,),
    examples=(Example("gasang diff web", "what differs from its image"),),
)
COLUMNS = (Column("path", "PATH"), Column("kind", "KIND"))


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    found = connect(context).call("GET", path_of("containers", parsed.arguments[0], "changes")) or ()
    rows = [{"path": entry["Path"], "kind": KINDS[entry["Kind"]]} for entry in found]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
