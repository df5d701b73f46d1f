"""The options that every verb has, and the one of every verb that lists."""

from __future__ import annotations

from gasang.cli.options import HELP, Option, Syntax, plain_text, switch, value
from gasang.core.config import SETTINGS

DEBUG: Option[bool] = switch("debug", "show tracebacks of errors")
PROGRESS: Option[str | None] = value(
    "progress",
    "HOW",
    "how progress is shown: auto, plain (lines), json (one object a line, on standard error) or none",
    SETTINGS["progress"].parse,
    choices=("auto", "plain", "json", "none"),
)
FORMAT: Option[str | None] = value(
    "format",
    "FORMAT",
    "table, json (one array), jsonl (one object a line), name, or a template such as '{name} {size}'",
    plain_text,
    choices=("table", "json", "jsonl", "name"),
)

STANDARD: tuple[Option[bool] | Option[str | None], ...] = (PROGRESS, DEBUG, HELP)


def with_standard_options(syntax: Syntax) -> Syntax:
    """`syntax` with the options that every verb has at its end."""
    return syntax._replace(options=(*syntax.options, *STANDARD))
