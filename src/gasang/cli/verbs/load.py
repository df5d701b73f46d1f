"""``gasang load``: container images out of an archive."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from gasang.cli.containers.daemon import connect
from gasang.cli.options import Example, Parsed, Syntax, plain_text, value
from gasang.cli.progress import Step, open_progress
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

INPUT = value("input", "FILE", "where from (default: standard input)", plain_text, short="i", files=True)
BLOCK = 1 << 20

SYNTAX = Syntax(
    "Read container images out of an archive of gasang save, docker save or in OCI layout.",
    options=(INPUT,),
    examples=(Example("gasang load -i web.tar", "and say what it is called"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Load it and print the names. Raises GasangError, OSError."""
    path = parsed.get(INPUT)
    if path is None and os.isatty(0):
        raise UsageError("gasang load", "there is no archive", "add -i FILE, or send one in with <")
    with ExitStack() as cleanup:
        file: BinaryIO = sys.stdin.buffer if path is None else cleanup.enter_context(open(path, "rb"))
        total = os.fstat(file.fileno()).st_size or None
        step = cleanup.enter_context(cleanup.enter_context(open_progress(context)).step("loading", total, "bytes"))
        for line in connect(context).lines("POST", "/images/load", body=_pieces(file, step)):
            said = str(line.get("stream", "")).strip()
            if said:
                print(said.partition(": ")[2] or said)
    return 0


def _pieces(file: BinaryIO, step: Step) -> Iterator[bytes]:
    while data := file.read(BLOCK):
        step.advance(len(data))
        yield data
