"""The compile service's process: requests on its standard input, answers on its standard output.

It shares nothing with the machine. LLVM may take long, take much memory, or end the process: the machine goes on, and starts another.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import suppress

from gasang.accel.soft.jit.messages import Answer, Request, pack_answer, read_request
from gasang.cpus.riscv64.region.code import compile_region
from gasang.cpus.riscv64.region.pages import CodePage

MOST_MEMORY = 1 << 30
"""Bytes of data: LLVM that wants more ends, and the region stays interpreted."""
MOST_SECONDS = 60
"""Processor time of one request."""
POLITE = 5
"""Nice: vCPUs come first."""


def main() -> None:
    """Answer until the machine is gone."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    with suppress(OSError):
        os.nice(POLITE)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while (request := read_request(requests)) is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + MOST_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
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
        return Answer(request.number, (), {}, 0, seconds, b"")
    return Answer(request.number, made.entries, made.stamps, made.steps, seconds, made.image.pack())
