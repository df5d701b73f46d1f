"""The compile service's process: requests on its standard input, answers on its standard output.

It shares nothing with the machine. LLVM may take long, take much memory, or end the process: the machine goes on, and starts another.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from gasang.accel.soft.jit.messages import Answer, Request, pack_answer, read_request
from gasang.cpus.riscv64.region.code import compile_region
from gasang.cpus.riscv64.region.pages import CodePage
from gasang.host.limits import limit_memory, limit_time, yield_processor

MOST_MEMORY = 1 << 30
"""Bytes of data: LLVM that wants more ends, and the region stays interpreted."""
MOST_SECONDS = 60
"""Processor time of one request."""


def main() -> None:
    """Answer until the machine is gone."""
    limit_memory(MOST_MEMORY)
    with suppress(PermissionError):  # who is in jail has done it before
        yield_processor()  # on a host that is busy the guest goes first
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while (request := read_request(requests)) is not None:
        limit_time(MOST_SECONDS)
        answers.write(pack_answer(answer(request)))
        answers.flush()


def answer(request: Request) -> Answer:
    """Compile."""
    began = time.monotonic()
    pages = {delta: CodePage(delta, page.content, page.executed) for delta, page in request.pages.items()}
    stamps = {delta: page.stamp for delta, page in request.pages.items()}
    made = compile_region(pages, stamps, request.hot, wanted=request.wanted, targets=request.targets, multi=request.multi)
    seconds = time.monotonic() - began
    if made is None:
        return Answer(request.number, (), {}, (), seconds, b"")
    return Answer(request.number, made.entries, made.stamps, made.places, seconds, made.image.pack())
