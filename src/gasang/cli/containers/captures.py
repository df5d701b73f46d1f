"""``gasang network capture``: a network's frames into a file, until there are enough or the user has seen enough."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from gasang.api.answer import Answer
from gasang.api.client import path_of
from gasang.cli.containers import values as convert
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.family import Local
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, value
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.core.errors import OutOfSpaceError, UsageError
from gasang.network.capture import pcapng

OUTPUT = value("write", "FILE", "where to (default: standard output)", plain_text, short="w", files=True)
FILTER = value("filter", "EXPRESSION", "which frames, in tcpdump's words: tcp port 80 and host 10.7.0.2", plain_text)
COUNT = value("count", "NUMBER", "end after so many frames", convert.whole_number, short="c")
DURATION = value("duration", "SECONDS", "end after this time", plain_text)
KEPT = value("snaplen", "BYTES", "keep so many bytes of each frame (default: all)", convert.whole_number, short="s")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def _run(parsed: Parsed, context: Context) -> int:
    name, output = parsed.arguments[0], parsed.get(OUTPUT)
    if output in (None, "-") and os.isatty(1):
        raise UsageError("gasang network capture", "a capture is not for a terminal", "add -w FILE, or send it on with |")
    asked = {"filter": parsed.get(FILTER), "count": parsed.get(COUNT), "duration": parsed.get(DURATION), "kept": parsed.get(KEPT)}
    with ExitStack() as cleanup:
        answer = cleanup.enter_context(connect(context).open("GET", path_of("gasang", "networks", name, "capture"), asked))
        file: BinaryIO = sys.stdout.buffer if output in (None, "-") else cleanup.enter_context(open(str(output), "wb", buffering=0))
        step = cleanup.enter_context(cleanup.enter_context(open_progress(context)).step(f"capturing {name}", unit="frames"))
        try:
            for blocks in _whole(answer):
                _write(file, blocks, str(output))
                step.advance(pcapng.packets(blocks))
        except KeyboardInterrupt:
            return 0  # what was taken until then is a file
    return 0


def _whole(answer: Answer) -> Iterator[bytes]:
    """The answer in blocks that are there as a whole, so that a file that ends early is right up to its end."""
    rest = b""
    while data := answer.read():
        rest += data
        size = pcapng.whole(rest)
        if size:
            yield rest[:size]
            rest = rest[size:]


def _write(file: BinaryIO, blocks: bytes, name: str) -> None:
    """All of it, or, where the disk is full, nothing of it. Raises OutOfSpaceError, OSError."""
    begun = file.tell() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    try:
        left = memoryview(blocks)
        while left:
            left = left[file.write(left) :]
        file.flush()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        if begun is not None:
            file.truncate(begun)
        raise OutOfSpaceError(f"file {name}", "the disk is full; what was captured until then is in it", "make room") from error


CAPTURE = Local(
    Syntax(
        "Write down what passes on a network, as pcapng, which tcpdump and Wireshark read.",
        options=(OUTPUT, FILTER, COUNT, DURATION, KEPT),
        arguments=(Argument("NETWORK", "by name or id", completes="networks"),),
        examples=(
            Example("gasang network capture lan -w out.pcapng", "until Ctrl-C"),
            Example("gasang network capture lan --filter 'tcp port 80' --count 100 | tcpdump -n -r -", "look at it at once"),
        ),
    ),
    _run,
)
