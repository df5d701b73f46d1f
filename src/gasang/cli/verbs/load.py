"""``gasang load``: container images out of an archive."""

from __future__ import annotations

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.saving import read_from
from gasang.cli.options import Example, Parsed, Syntax, plain_text, value
from gasang.cli.settings import Context

INPUT = value("input", "FILE", "where from (default: standard input)", plain_text, short="i", files=True)

SYNTAX = Syntax(
    "Read container images out of an archive of gasang save, docker save or in OCI layout.",
    options=(INPUT,),
    examples=(Example("gasang load -i web.tar", "and say what it is called"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Load it and print the names. Raises GasangError, OSError."""
    with read_from(parsed.get(INPUT), "loading", "load", context) as pieces:
        for line in connect(context).lines("POST", "/images/load", body=pieces):
            said = str(line.get("stream", "")).strip()
            if said:
                print(said.partition(": ")[2] or said)
    return 0
