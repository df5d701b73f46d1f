"""``gasang logs``: what machines have said."""

from __future__ import annotations

import os
import sys

from gasang.api.client import path_of
from gasang.api.frames import MULTIPLEXED, STDERR, Demultiplexer
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.settings import Context

FOLLOW = switch("follow", "go on while it runs", short="f")
TAIL = value("tail", "N", "only the last N lines (default: all)", plain_text, short="n")
SINCE = value("since", "TIME", "only from then on: 2026-01-31T10:00:00Z, or 10m for ten minutes ago", plain_text)
UNTIL = value("until", "TIME", "only until then", plain_text)
TIMESTAMPS = switch("timestamps", "the time before each line", short="t")

SYNTAX = Syntax(
    "Show what a machine has said.",
    options=(FOLLOW, TAIL, SINCE, UNTIL, TIMESTAMPS),
    arguments=(MACHINE,),
    examples=(
        Example("gasang logs web", "all that is kept: the last 30 MB unless it was told otherwise"),
        Example("gasang logs -f --tail 20 web", "the last lines, and those to come"),
    ),
    notes="Its standard output goes to standard output, its standard error to standard error.",
)


def run(parsed: Parsed, context: Context) -> int:
    """Copy the log. Raises GasangError."""
    query = {
        "stdout": 1,
        "stderr": 1,
        "follow": int(parsed.get(FOLLOW)),
        "tail": parsed.get(TAIL),
        "since": parsed.get(SINCE),
        "until": parsed.get(UNTIL),
        "timestamps": int(parsed.get(TIMESTAMPS)),
    }
    with connect(context).open("GET", path_of("containers", parsed.arguments[0], "logs"), query) as answer:
        if answer.headers.get("content-type") != MULTIPLEXED:
            for data in iter(answer.read, b""):
                _write(1, data)
            return 0
        frames = Demultiplexer()
        for data in iter(answer.read, b""):
            for number, piece in frames.feed(data):
                _write(2 if number == STDERR else 1, piece)
    return 0


def _write(descriptor: int, data: bytes) -> None:
    """All of it, past Python's own buffers. Raises BrokenPipeError where nobody reads."""
    stream = sys.stderr if descriptor == 2 else sys.stdout
    stream.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
