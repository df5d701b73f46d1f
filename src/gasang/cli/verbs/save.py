"""``gasang save``: container images as one archive."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import BinaryIO

from gasang.cli.containers.daemon import connect
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, value
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

OUTPUT = value("output", "FILE", "where to (default: standard output)", plain_text, short="o", files=True)

SYNTAX = Syntax(
    "Write container images to an archive that gasang load and docker load read.",
    options=(OUTPUT,),
    arguments=(Argument("IMAGE", "by name or id", repeated=True, completes="images"),),
    examples=(
        Example("gasang save -o web.tar web:1", "one image"),
        Example("gasang save a b | gzip > both.tar.gz", "two of them, compressed"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Write the archive. What was begun of a file is removed again if it fails. Raises GasangError, OSError."""
    output = parsed.get(OUTPUT)
    if output is None and os.isatty(1):
        raise UsageError("gasang save", "an archive is not for a terminal", "add -o FILE, or send it on with |")
    with ExitStack() as cleanup:
        answer = cleanup.enter_context(connect(context).open("GET", "/images/get", {"names": list(parsed.arguments)}))
        step = cleanup.enter_context(cleanup.enter_context(open_progress(context)).step("saving", unit="bytes"))
        part = f"{output}.part"
        file: BinaryIO = sys.stdout.buffer if output is None else cleanup.enter_context(open(part, "wb"))
        if output is not None:
            cleanup.callback(_forget, part)
        for data in iter(answer.read, b""):
            file.write(data)
            step.advance(len(data))
        file.flush()
        if output is not None:
            os.replace(part, output)
    return 0


def _forget(path: str) -> None:
    """Remove it unless it has become the archive."""
    if os.path.exists(path):
        os.unlink(path)
