"""``gasang version``: of this command, and of the daemon if one runs."""

from __future__ import annotations

import platform

from gasang import __version__
from gasang.cli.containers.daemon import connect
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

SYNTAX = Syntax(
    "Show the versions of this command and of the daemon, if one runs.",
    options=(FORMAT,),
    examples=(Example("gasang version", "both"), Example("gasang version --format json", "for a program")),
)
COLUMNS = (Column("part", "PART"), Column("version", "VERSION"), Column("about", "ABOUT"))


def run(parsed: Parsed, context: Context) -> int:
    """Print the list; no daemon is started for it. Raises GasangError."""
    rows: list[Row] = [{"part": "gasang", "version": __version__, "about": f"Python {platform.python_version()}"}]
    client = connect(context)
    if client.running():
        found = client.call("GET", "/version")
        about = f"Docker Engine API {found['MinAPIVersion']} to {found['ApiVersion']}, {found['Os']}/{found['Arch']}"
        rows.append({"part": "daemon", "version": found["Version"], "about": f"{about}, kernel {found['KernelVersion']}"})
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
