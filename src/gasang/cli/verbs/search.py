"""``gasang search``: images of a registry."""

from __future__ import annotations

from typing import Any

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.shown import shortened
from gasang.cli.containers.values import whole_number
from gasang.cli.options import Argument, Example, Parsed, Syntax, value
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT

LIMIT = value("limit", "N", "at most so many (default 25)", whole_number)
SYNTAX = Syntax(
    "Search a registry for images.",
    options=(LIMIT, FILTER, FORMAT),
    arguments=(Argument("TERM", "a part of the name"),),
    examples=(Example("gasang search --filter is-official=true debian", "on Docker Hub"),),
    notes="Registries have no search in their common API; one that cannot be searched says so.",
)
COLUMNS = (
    Column("name", "NAME"),
    Column("description", "DESCRIPTION", shortened(60)),
    Column("stars", "STARS"),
    Column("official", "OFFICIAL", lambda found: "yes" if found else ""),
)


def row(found: dict[str, Any]) -> Row:
    """A result of the API as a row."""
    return {
        "name": found["name"],
        "description": found.get("description") or "",
        "stars": found.get("star_count") or 0,
        "official": bool(found.get("is_official")),
    }


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    query = {"term": parsed.arguments[0], "limit": parsed.get(LIMIT), "filters": query_of(parsed.get(FILTER))}
    rows = [row(found) for found in connect(context).call("GET", "/images/search", query)]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
