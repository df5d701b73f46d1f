"""``gasang ps``: list machines."""

from __future__ import annotations

from typing import Any

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.shown import ago, listed, port_texts, short_id, shortened, stamp
from gasang.cli.containers.values import whole_number
from gasang.cli.options import Example, Parsed, Syntax, switch, value
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

ALL = switch("all", "also those that do not run", short="a")
QUIET = switch("quiet", "ids alone", short="q")
LAST = value("last", "N", "only the N made last, also those that do not run", whole_number, short="n")
LATEST = switch("latest", "only the one made last", short="l")
SIZE = switch("size", "also what each has written", short="s")
WHOLE = switch("no-trunc", "ids, images and commands in full")

SYNTAX = Syntax(
    "List the machines that run.",
    options=(ALL, LAST, LATEST, SIZE, QUIET, WHOLE, FILTER, FORMAT),
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
    Column("size", ""),
    Column("state", ""),
    Column("labels", ""),
    Column("networks", ""),
)


def columns(*, size: bool, whole: bool) -> list[Column]:
    """The columns: with the size, and with texts in full, where that is asked for."""
    shown = [Column(column.key, column.title) if whole and column.key in ("id", "image", "command") else column for column in COLUMNS]
    if size:
        from gasang.core.units import format_size

        shown = [Column("size", "WRITTEN", format_size) if column.key == "size" else column for column in shown]
    return shown


def row(found: dict[str, Any]) -> Row:
    """A line of the daemon's list as a row."""
    return {
        "name": found["Names"][0].removeprefix("/") if found.get("Names") else "",
        "id": found["Id"],
        "kind": found.get("Kind", "container"),
        "image": found["Image"],
        "command": found["Command"],
        "created": stamp(found["Created"]),
        "status": found["Status"],
        "ports": port_texts(found["Ports"]),
        "size": found.get("SizeRw"),
        "state": found["State"],
        "labels": found["Labels"],
        "networks": list(found["NetworkSettings"]["Networks"]),
    }


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    last = 1 if parsed.get(LATEST) else parsed.get(LAST)
    size = parsed.get(SIZE)
    query = {"all": int(parsed.get(ALL)), "limit": last, "size": int(size) or None, "filters": query_of(parsed.get(FILTER))}
    rows = [row(found) for found in connect(context).call("GET", "/containers/json", query)]
    form = "{id}" if parsed.get(QUIET) else parsed.get(FORMAT)
    print(render(form, columns(size=size, whole=parsed.get(WHOLE)), rows), end="")
    return 0
