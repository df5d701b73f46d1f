"""An answer's body into a file or standard output, and a file or standard input into a request's body."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from gasang.api.answer import Answer
from gasang.cli.options import plain_text, value
from gasang.cli.progress import Step, open_progress
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

OUTPUT = value("output", "FILE", "where to (default: standard output)", plain_text, short="o", files=True)
BLOCK = 1 << 20


def save_to(output: str | None, ask: Callable[[], Answer], verb: str, context: Context) -> None:
    """Keep the body of what `ask` gets. What was begun of a file is removed again if it fails. Raises GasangError, OSError."""
    if output is None and os.isatty(1):
        raise UsageError(f"gasang {verb}", "an archive is not for a terminal", "add -o FILE, or send it on with |")
    with ExitStack() as cleanup:
        answer = cleanup.enter_context(ask())
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


def _forget(path: str) -> None:
    """Remove it unless it has become the archive."""
    if os.path.exists(path):
        os.unlink(path)


@contextmanager
def read_from(path: str | None, title: str, verb: str, context: Context) -> Iterator[Iterator[bytes]]:
    """The bytes of a file, or of standard input (None), with progress. Raises UsageError where nothing is sent in, OSError."""
    if path is None and os.isatty(0):
        raise UsageError(f"gasang {verb}", "there is no archive", "name a file, or send one in with <")
    with ExitStack() as cleanup:
        file: BinaryIO = sys.stdin.buffer if path is None else cleanup.enter_context(open(path, "rb"))
        total = os.fstat(file.fileno()).st_size or None
        yield _pieces(file, cleanup.enter_context(cleanup.enter_context(open_progress(context)).step(title, total, "bytes")))


def _pieces(file: BinaryIO, step: Step) -> Iterator[bytes]:
    while data := file.read(BLOCK):
        step.advance(len(data))
        yield data
