"""Processes that compile for the next machine what one has left behind: requests on their standard input, nobody waits for answers.

Some do at a time for a code cache, a while, and others come first: they have the processors when nobody else wants them.

What a boot executes is much and hardly hot: there is more of it than can be compiled, so it is compiled with as little effort as makes it
faster than the interpreter (ADR 0053). What stays hot though it has been compiled so has a process of its own, which takes pains, but on
one page as well: the next start stays in such code longer, not long enough to compare several pages each time it comes by (ADR 0058).
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
from gasang.host.limits import processors

FINISHING = 60.0
"""Seconds of processor time that each spends."""
MOST_PROCESSES = 2
BRIEF = "brief"
"""The word for who is to spend little effort."""
LOCK = "finishing"
"""The file that is locked as long as any works."""


def begin(words: Sequence[str], brief: Sequence[tuple[int, bytes]], full: Sequence[bytes], folder: Path) -> None:
    """Start such processes by `words`, unless there are some; they go on when this one has ended. Raises OSError.

    `brief` is what little effort is enough for: requests with the same number go to the same process, in their order. The others go to one.

    The lock is taken here, and is theirs with the descriptor: to wait until they have begun would take as long as a start of Python.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as alone:
        if not lock_file(alone.fileno(), shared=False):
            return
        count = min(MOST_PROCESSES, processors(), len(brief))
        for part in range(count):
            _begin_one([*words, BRIEF], [request for number, request in brief if number % count == part], alone.fileno())
        if full:
            _begin_one(words, full, alone.fileno())


def _begin_one(words: Sequence[str], requests: Sequence[bytes], lock: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.writelines(requests)
        file.seek(0)
        nowhere, handed = subprocess.DEVNULL, () if sys.platform == "win32" else (lock,)
        process = subprocess.Popen(words, stdin=file, stdout=nowhere, stderr=nowhere, pass_fds=handed, start_new_session=True)
    threading.Thread(target=process.wait, name="finishing", daemon=True).start()  # or it would stay behind where this process lives on


def main(folder: str, effort: str = "") -> None:
    """The process. `folder` is where the code cache is. What is in a region that it has made already is not compiled again."""
    from gasang.host.limits import use_idle_processors

    use_idle_processors()  # before it loads all that it needs: the machine is about to end
    from gasang.accel.soft.jit.messages import read_request  # a machine that starts one needs none of this
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.accel.soft.jit.worker import limit_request, limit_worker, serve
    from gasang.cpus.riscv64.state import PAGE_SIZE
    from gasang.native.build import spend_less

    limit_worker()
    brief = effort == BRIEF
    if brief:
        spend_less()
    store = RegionStore(Path(folder))
    done: set[tuple[int, int]] = set()
    while time.process_time() < FINISHING and (request := read_request(sys.stdin.buffer)) is not None:
        page = request.pages.get(0)
        if page is not None and (page.stamp, request.hot) not in done:
            limit_request()
            made = serve(request if brief else request._replace(pages={0: page}), store, brief=brief)
            done.update((made.stamps[place // PAGE_SIZE], place % PAGE_SIZE) for place in made.places)
