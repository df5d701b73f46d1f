"""``gasang stop``: ask machines to end, and kill those that do not."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.containers.values import whole_number
from gasang.cli.options import Example, Parsed, Syntax, plain_text, value
from gasang.cli.settings import Context

TIME = value("time", "SECONDS", "how long it may take to end before it is killed (default: its own, or 10)", whole_number, short="t")
SIGNAL = value("signal", "SIGNAL", "what asks it to end (default: its own, or TERM)", plain_text, short="s")

SYNTAX = Syntax(
    "Ask machines to end, and kill those that do not.",
    options=(TIME, SIGNAL),
    arguments=(MACHINES,),
    examples=(Example("gasang stop web", "end it within ten seconds"), Example("gasang stop -t 60 db", "give it a minute")),
)


def run(parsed: Parsed, context: Context) -> int:
    """Stop each. Raises GasangError."""
    client, query = connect(context), {"t": parsed.get(TIME), "signal": parsed.get(SIGNAL)}
    return for_each(parsed.arguments, lambda name: client.call("POST", path_of("containers", name, "stop"), query))
