"""``gasang ps``: list machines."""

from __future__ import annotations

from typing import Any

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.shown import ago, listed, port_texts, short_id, shortened, stamp
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

ALL = switch("all", "also those that do not run", short="a")
QUIET = switch("quiet", "ids alone", short="q")

SYNTAX = Syntax(
    "List the machines that run.",
    options=(ALL, QUIET, FILTER, FORMAT),
    examples=(
        Example("gasang ps", "those that run"),
        Example("gasang ps -a --filter status=exited", "those that have ended"),
        Example("gasang ps --format json", "the same for a program"),
        Example("gasang rm -f $(gasang ps -aq)", "remove all of them"),
    ),
    notes="Filters are those of the Docker Engine API: name, id, label, status, exited, ancestor, network, volume, publish and others.",
)

COLUMNS = (
    Column("name", "NAME"),
    Column("id", "ID", short_id),
    Column("kind", "KIND"),
    Column("image", "IMAGE", shortened(40)),
    Column("command", "COMMAND", shortened(30)),
    Column("created", "CREATED", ago),
    Column("status", "STATUS"),
    Column("ports", "PORTS", listed),
    Column("state", ""),
    Column("labels", ""),
    Column("networks", ""),
)


def row(found: dict[str, Any]) -> Row:
    """A line of the daemon's list as a row."""
    return {
        "name": found["Names"][0].removeprefix("/") if found.get("Names") else "",
        "id": found["Id"],
        "kind": "container",
        "image": found["Image"],
        "command": found["Command"],
        "created": stamp(found["Created"]),
        "status": found["Status"],
        "ports": port_texts(found["Ports"]),
        "state": found["State"],
        "labels": found["Labels"],
        "networks": list(found["NetworkSettings"]["Networks"]),
    }


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    query = {"all": int(parsed.get(ALL)), "filters": query_of(parsed.get(FILTER))}
    rows = [row(found) for found in connect(context).call("GET", "/containers/json", query)]
    form = "{id}" if parsed.get(QUIET) else parsed.get(FORMAT)
    print(render(form, COLUMNS, rows), end="")
    return 0
