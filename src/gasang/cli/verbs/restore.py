"""``gasang restore``: have a virtual machine go on from a snapshot."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Have a virtual machine go on where it stood when a snapshot of it was made.",
    arguments=(MACHINE, Argument("NAME", "of the snapshot")),
    examples=(Example("gasang restore web base", "go back to it, memory and disk"),),
    notes="""
A machine that runs is ended first, and what it has done since the snapshot is gone; its other snapshots stay. A snapshot that is not there
or is damaged is refused before that.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Restore it. Raises GasangError."""
    name, snapshot = parsed.arguments
    connect(context).call("POST", path_of("gasang", "vms", name, "restore"), {"name": snapshot})
    print(name)
    return 0
