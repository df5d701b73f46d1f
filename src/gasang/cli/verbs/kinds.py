"""``gasang kinds``: the kinds of machines and what each can do."""

from __future__ import annotations

from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.output import Column, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.kinds import CAPABILITIES, KINDS, can

SYNTAX = Syntax(
    "List the kinds of machines and what each can do.",
    options=(FORMAT,),
    examples=(
        Example("gasang kinds", "the kinds as a table"),
        Example("gasang kinds --format json", "the same for a program"),
    ),
)


def _mark(value: bool) -> str:
    return "yes" if value else "–"


COLUMNS = (
    Column("name", "KIND"),
    *(Column(verb, verb.upper(), _mark) for verb in CAPABILITIES),
    Column("python", "FROM PYTHON", lambda verbs: ", ".join(verbs) or "–"),
    Column("starts_from", "STARTS FROM"),
    Column("summary", "WHAT IT IS"),
)


def run(parsed: Parsed, context: Context) -> int:
    """Print the table of kinds."""
    rows = [
        {
            "name": kind.name,
            "starts_from": kind.starts_from,
            "summary": kind.summary,
            "python": [verb for verb in CAPABILITIES if verb in kind.python],
            **{verb: can(kind, verb) for verb in CAPABILITIES},
        }
        for kind in KINDS
    ]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
