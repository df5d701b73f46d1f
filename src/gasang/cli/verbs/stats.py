"""``gasang stats``: what machines use, sampled every second."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.figures import COLUMNS, row
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch
from gasang.cli.output import Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.errors import NotFoundError

NO_STREAM = switch("no-stream", "once, not every second until Ctrl-C")
EVERY: Final = 1.0
"""Seconds between samples."""
_HOME: Final = "\x1b[H\x1b[2J"

SYNTAX = Syntax(
    "Show what machines use: processors, memory, network and disks.",
    options=(NO_STREAM, FORMAT),
    arguments=(Argument("MACHINE", "only these (default: all that run)", required=False, repeated=True, completes="machines"),),
    examples=(Example("gasang stats", "every second"), Example("gasang stats --no-stream --format json", "once, for a program")),
)


def sampled(client: Client, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """A sample of each, by id. Raises NotFoundError for one that was named and is not there."""
    keys = names or tuple(entry["Id"] for entry in client.call("GET", "/containers/json"))
    found: dict[str, dict[str, Any]] = {}
    for key in keys:
        with suppress(*(() if names else (NotFoundError,))):  # it may end between the list and its sample
            sample = client.call("GET", path_of("containers", key, "stats"), {"stream": 0, "one-shot": 1})
            found[sample["id"]] = sample
    return found


def run(parsed: Parsed, context: Context) -> int:
    """Print a list a second, or one. Raises GasangError."""
    client, form, once = connect(context), parsed.get(FORMAT), parsed.get(NO_STREAM)
    form = "jsonl" if form == "json" and not once else form
    before = sampled(client, parsed.arguments)
    while True:
        time.sleep(EVERY)
        now = sampled(client, parsed.arguments)
        _print(form, [row(before.get(key, {}), sample) for key, sample in now.items()], clear=not once)
        if once:
            return 0
        before = now


def _print(form: str | None, rows: list[Row], *, clear: bool) -> None:
    if clear and form in (None, "table") and os.isatty(1):
        sys.stdout.write(_HOME)
    sys.stdout.write(render(form, COLUMNS, rows))
    sys.stdout.flush()
