"""``gasang kill``: send a signal to machines."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.options import Example, Parsed, Syntax, plain_text, value
from gasang.cli.settings import Context

SIGNAL = value("signal", "SIGNAL", "which: a name such as HUP, or a number", plain_text, short="s")

SYNTAX = Syntax(
    "Send a signal to machines, KILL by default.",
    options=(SIGNAL,),
    arguments=(MACHINES,),
    examples=(Example("gasang kill web", "end it at once"), Example("gasang kill -s HUP web", "have it read its settings again")),
)


def run(parsed: Parsed, context: Context) -> int:
    """Send it to each. Raises GasangError."""
    client, query = connect(context), {"signal": parsed.get(SIGNAL)}
    return for_each(parsed.arguments, lambda name: client.call("POST", path_of("containers", name, "kill"), query))
