"""``gasang port``: where a machine's ports are found on the host."""

from __future__ import annotations

from typing import Any

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.containers.foreground import inspected
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.errors import NotFoundError

SYNTAX = Syntax(
    "Show where on the host a machine's published ports are found.",
    options=(FORMAT,),
    arguments=(MACHINE, Argument("PORT", "only this one, such as 80 or 53/udp", required=False)),
    examples=(Example("gasang port web", "all of them"), Example("gasang port web 80 --format '{host}'", "where to connect to")),
)
COLUMNS = (Column("port", "PORT"), Column("host", "HOST"))


def rows_of(ports: dict[str, Any]) -> list[Row]:
    """NetworkSettings.Ports as rows."""
    return [{"port": port, "host": _place(binding)} for port, bindings in ports.items() for binding in bindings or ()]


def _place(binding: dict[str, str]) -> str:
    address = binding["HostIp"]
    return f"{f'[{address}]' if ':' in address else address}:{binding['HostPort']}"


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises NotFoundError where the named port is not published."""
    name, *wanted = parsed.arguments
    rows = rows_of(inspected(connect(context), name)["NetworkSettings"]["Ports"])
    if wanted:
        port = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
        rows = [row for row in rows if row["port"] == port]
        if not rows:
            raise NotFoundError(f"port {port} of {name}", "it is not published", f"gasang port {name} shows those that are")
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
