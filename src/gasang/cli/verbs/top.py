"""``gasang top``: the processes of a machine."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.output import Column, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

SYNTAX = Syntax(
    "List the processes of a machine.",
    options=(FORMAT,),
    arguments=(MACHINE, Argument("COLUMNS", "of ps, such as 'pid,user,args'", required=False)),
    examples=(
        Example("gasang top web", "its processes, by the host's numbers"),
        Example("gasang top web pid,args --format jsonl", "these columns for a program"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    name, *columns = parsed.arguments
    query = {"ps_args": f"-o {columns[0]}"} if columns else {}
    found = connect(context).call("GET", path_of("containers", name, "top"), query)
    titles = [Column(title.lower().lstrip("%"), title) for title in found["Titles"]]
    rows = [{column.key: cell for column, cell in zip(titles, cells, strict=False)} for cells in found["Processes"]]
    print(render(parsed.get(FORMAT), titles, rows), end="")
    return 0
