"""``gasang fork``: running twins of a virtual machine."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.containers.values import whole_number
from gasang.cli.options import Example, Parsed, Syntax, switch, value
from gasang.cli.output import Column, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

COUNT = value("count", "N", "how many (default 1)", whole_number, short="n")
QUIET = switch("quiet", "ids alone", short="q")
COLUMNS = (Column("name", "NAME"), Column("id", "ID"))
SYNTAX = Syntax(
    "Make running twins of a virtual machine: each goes on from this moment, and shares what neither has written since.",
    options=(COUNT, QUIET, FORMAT),
    arguments=(MACHINE,),
    examples=(
        Example("gasang fork web", "one twin, web-1"),
        Example("gasang rm -f $(gasang fork -q -n 20 web)", "twenty, and away with them"),
    ),
    notes="""
A twin is a machine like any other, with a log, a disk and snapshots of its own. It has a clone of each disk volume that the machine writes
to, which goes with it.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Fork it, and print the twins. Raises GasangError."""
    count = parsed.get(COUNT)
    found = connect(context).call("POST", path_of("gasang", "vms", parsed.arguments[0], "fork"), {"count": 1 if count is None else count})
    rows = [{"name": twin["Name"], "id": twin["Id"]} for twin in found]
    print(render("{id}" if parsed.get(QUIET) else parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
