"""``gasang restore``: have a virtual machine go on from a snapshot."""

from __future__ import annotations

import sys

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch
from gasang.cli.settings import Context

DISCARD = switch("discard", "keep nothing of what its volumes have now")

SYNTAX = Syntax(
    "Have a virtual machine go on where it stood when a snapshot of it was made.",
    options=(DISCARD,),
    arguments=(MACHINE, Argument("NAME", "of the snapshot")),
    examples=(
        Example("gasang restore web base", "go back to it, memory, disk and volumes"),
        Example("gasang restore --discard web base", "again and again, with nothing left of what was in between"),
    ),
    notes="""
A machine that runs is ended first, and what it has done since the snapshot is gone; its other snapshots stay. A snapshot that is not there
or is damaged is refused before that. Its disk volumes go back too; what they have now is kept as a snapshot of each, whose name is told:
gasang volume snapshot --apply NAME VOLUME brings it back once the machine is stopped.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Restore it. Raises GasangError."""
    name, snapshot = parsed.arguments
    query = {"name": snapshot, "discard": 1 if parsed.get(DISCARD) else None}
    told = connect(context).call("POST", path_of("gasang", "vms", name, "restore"), query)
    print(name)
    for kept in told["Kept"]:
        print(f"gasang: what volume {kept['Volume']} had is kept as its snapshot {kept['Snapshot']}", file=sys.stderr)
    return 0
