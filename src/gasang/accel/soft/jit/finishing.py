"""A process that compiles for the next machine what one has left behind: requests on its standard input, nobody waits for answers.

One does at a time for a code cache, a while, and others come first: it has the processor when nobody else wants it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gasang.host.files import lock_file

FINISHING = 60.0
"""Seconds of processor time that are spent."""
LOCK = "finishing"
"""The file that is locked as long as one works."""


def begin(words: Sequence[str], requests: Sequence[bytes], folder: Path) -> None:
    """Start such a process by `words`, unless there is one; it goes on when this one has ended. Raises OSError.

    The lock is taken here, and is the process's with the descriptor: to wait until it has begun would take as long as a start of Python.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as alone, tempfile.TemporaryFile() as file:
        if not lock_file(alone.fileno(), shared=False):
            return
        file.writelines(requests)
        file.seek(0)
        nowhere, handed = subprocess.DEVNULL, () if sys.platform == "win32" else (alone.fileno(),)
        process = subprocess.Popen(words, stdin=file, stdout=nowhere, stderr=nowhere, pass_fds=handed, start_new_session=True)
    threading.Thread(target=process.wait, name="finishing", daemon=True).start()  # or it would stay behind where this process lives on


def main(folder: str) -> None:
    """The process. `folder` is where the code cache is."""
    from gasang.accel.soft.jit.messages import read_request  # a machine that starts one needs none of this
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.accel.soft.jit.worker import limit_request, limit_worker, serve
    from gasang.host.limits import use_idle_processors

    limit_worker()
    use_idle_processors()
    store = RegionStore(Path(folder))
    while time.process_time() < FINISHING and (request := read_request(sys.stdin.buffer)) is not None:
        limit_request()
        serve(request, store)
