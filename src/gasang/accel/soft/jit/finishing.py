"""A process that compiles for the next machine what one has left behind: requests on its standard input, nobody waits for answers.

One does at a time for a code cache, a while, and others come first. Who starts it goes on as soon as it has begun.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from gasang.host.files import lock_file

FINISHING = 60.0
"""Seconds of processor time that are spent."""
LOCK = "finishing"
"""The file that is locked as long as one works."""


def main(folder: str) -> None:
    """Begin, and go on as a process of its own. `folder` is where the code cache is."""
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(Path(folder) / LOCK, "ab") as alone:
        if lock_file(alone.fileno(), shared=False) and os.fork() == 0:
            os.setsid()
            _finish(folder)


def _finish(folder: str) -> None:
    from gasang.accel.soft.jit.messages import read_request  # who started this does not wait for it
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.accel.soft.jit.worker import limit_request, limit_worker, serve

    limit_worker()
    store = RegionStore(Path(folder))
    while time.process_time() < FINISHING and (request := read_request(sys.stdin.buffer)) is not None:
        limit_request()
        serve(request, store)
