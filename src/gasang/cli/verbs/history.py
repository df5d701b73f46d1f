"""``gasang history``: how a container image came to be."""

from __future__ import annotations

from typing import Any

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.shown import ago, short_id, shortened, stamp
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.units import format_size

WHOLE = switch("no-trunc", "steps in full")
SYNTAX = Syntax(
    "Show the steps that made a container image, the newest first.",
    options=(WHOLE, FORMAT),
    arguments=(Argument("IMAGE", "by name or id", completes="images"),),
    examples=(Example("gasang history web:1", "each step and what it added"),),
)
COLUMNS = (
    Column("id", "ID", short_id),
    Column("created", "CREATED", ago),
    Column("created_by", "CREATED BY", shortened(60)),
    Column("size", "SIZE", format_size),
    Column("comment", "COMMENT"),
)


def row(step: dict[str, Any]) -> Row:
    """A step of the API as a row; a step that is no image of its own has no id."""
    return {
        "id": "" if step["Id"] == "<missing>" else step["Id"],
        "created": stamp(step["Created"]),
        "created_by": step["CreatedBy"],
        "size": step["Size"],
        "comment": step["Comment"],
    }


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    found = connect(context).call("GET", path_of("images", parsed.arguments[0], "history"))
    columns = [Column(column.key, column.title) if column.key == "created_by" and parsed.get(WHOLE) else column for column in COLUMNS]
    print(render(parsed.get(FORMAT), columns, [row(step) for step in found]), end="")
    return 0
