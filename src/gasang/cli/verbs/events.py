"""``gasang events``: what happens to machines, images, networks and volumes, as it happens."""

from __future__ import annotations

import sys
from typing import Any

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.shown import stamp
from gasang.cli.options import Example, Parsed, Syntax, plain_text, value
from gasang.cli.output import Column, Row, printable, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

SINCE = value("since", "TIME", "first those since then that are still known: 2026-01-31T10:00:00Z, or 10m", plain_text)
UNTIL = value("until", "TIME", "end then; otherwise Ctrl-C does", plain_text)

SYNTAX = Syntax(
    "Show what happens to machines, images, networks and volumes, as it happens.",
    options=(SINCE, UNTIL, FILTER, FORMAT),
    examples=(
        Example("gasang events", "from now on"),
        Example("gasang events --filter type=container --filter event=die --format jsonl", "ends of machines, an object a line"),
    ),
)
COLUMNS = tuple(Column(key, key.upper()) for key in ("time", "type", "action", "id", "name", "attributes"))


def row(event: dict[str, Any]) -> Row:
    """An event of the API as a row."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    return {
        "time": stamp(event.get("time", 0)),
        "type": event.get("Type", ""),
        "action": event.get("Action", ""),
        "id": actor.get("ID", ""),
        "name": attributes.get("name", ""),
        "attributes": attributes,
    }


def line(found: Row) -> str:
    """A row as a line for people."""
    about = found["name"] or found["id"]
    rest = ", ".join(f"{name}={text}" for name, text in found["attributes"].items() if name != "name")
    return printable(f"{found['time']} {found['type']} {found['action']} {about}{f' ({rest})' if rest else ''}") + "\n"


def run(parsed: Parsed, context: Context) -> int:
    """Print each as it comes; json is an object a line, as of every stream. Raises GasangError."""
    form = parsed.get(FORMAT) or "table"
    form = "jsonl" if form == "json" else form
    query = {"since": parsed.get(SINCE), "until": parsed.get(UNTIL), "filters": query_of(parsed.get(FILTER))}
    for event in connect(context).lines("GET", "/events", query):
        found = row(event)
        sys.stdout.write(line(found) if form == "table" else render(form, COLUMNS, [found]))
        sys.stdout.flush()
    return 0
