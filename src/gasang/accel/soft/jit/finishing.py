"""Processes that compile for the next machine what one has left behind: requests on their standard input, nobody waits for answers.

Some do at a time for a code cache, a while, and others come first: they have the processors when nobody else wants them.

What a boot executes is much and hardly hot: there is more of it than can be compiled, so it is compiled with as little effort as makes it
faster than the interpreter (ADR 0053). What stays hot though it has been compiled so has a process of its own, which takes pains, but on
one page as well: the next start stays in such code longer, not long enough to compare several pages each time it comes by (ADR 0058).
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from gasang.accel.soft.jit.messages import Request, read_request
from gasang.host.files import lock_file
from gasang.host.limits import processors, use_idle_processors

FINISHING: Final = 60.0
"""Seconds of processor time that each spends."""
MOST_PROCESSES: Final = 2
"""For what is compiled briefly."""
LOCK: Final = "finishing"
"""The file that is locked as long as any works."""


def begin(words: Sequence[str], requests: Sequence[bytes], folder: Path) -> None:
    """Start a process by `words` that calls `main`, unless one works; it goes on when this one has ended. Raises OSError.

    The lock is taken here, and is theirs with the descriptor: to wait until they have begun would take as long as a start of Python. It is
    one process that starts the others: each that is started here would have the processors the machine needs to end.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as alone:
        if not lock_file(alone.fileno(), shared=False):
            return
        with _nameless() as file:
            file.writelines(requests)
            file.seek(0)
            nowhere, handed = subprocess.DEVNULL, () if sys.platform == "win32" else (alone.fileno(),)
            process = subprocess.Popen(words, stdin=file, stdout=nowhere, stderr=nowhere, pass_fds=handed, start_new_session=True)
    threading.Thread(target=process.wait, name="finishing", daemon=True).start()  # or it would stay behind where this process lives on


def _nameless() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("gasang-requests", os.MFD_CLOEXEC), "w+b")
    from tempfile import TemporaryFile  # takes milliseconds to load, which the end of a machine has not

    return TemporaryFile()


def main(folder: str) -> None:
    """The process. `folder` is where the code cache is."""
    use_idle_processors()  # before it loads all that it needs: the machine is about to end
    raw, forks = sys.stdin.buffer.read(), hasattr(os, "fork")
    shares = shares_of(_requests(raw), min(MOST_PROCESSES, processors()) if forks else 1)
    others: list[int] = []
    while len(shares) > 1 and forks:
        other = os.fork()
        if not other:
            shares, others = shares[-1:], []
            break
        others.append(other)
        shares.pop()
    for share in shares:
        _compile((request for number, request in enumerate(_requests(raw)) if number in share.numbers), Path(folder), brief=share.brief)
    for other in others:
        os.waitpid(other, 0)


class Share(NamedTuple):
    """What one process compiles: requests by number, and whether with little effort."""

    brief: bool
    numbers: set[int]


def shares_of(requests: Iterable[Request], most: int) -> list[Share]:
    """First what is worth all effort, then the others, in so many shares at most: those about one page are in the same."""
    all_effort: set[int] = set()
    brief: dict[int, set[int]] = {}
    for number, request in enumerate(requests):
        if request.full:
            all_effort.add(number)
        elif 0 in request.pages:
            brief.setdefault(request.pages[0].stamp, set()).add(number)
    shares: list[set[int]] = [set() for _ in range(min(most, len(brief)))]
    for numbers in brief.values():
        min(shares, key=len).update(numbers)
    return [*([Share(brief=False, numbers=all_effort)] if all_effort else []), *(Share(brief=True, numbers=share) for share in shares)]


def _requests(raw: bytes) -> Iterator[Request]:
    stream = io.BytesIO(raw)
    while (request := read_request(stream)) is not None:
        yield request


def _compile(requests: Iterable[Request], folder: Path, *, brief: bool) -> None:
    """Do so with one share, a while. What is in a region that was made here already is not compiled again."""
    from gasang.accel.soft.jit.store import RegionStore  # a machine that starts such a process needs none of this
    from gasang.accel.soft.jit.worker import limit_request, limit_worker, serve
    from gasang.cpus.riscv64.state import PAGE_SIZE
    from gasang.native.build import spend_less

    limit_worker()
    if brief:
        spend_less()
    store = RegionStore(folder)
    done: set[tuple[int, int]] = set()
    for request in requests:
        if time.process_time() >= FINISHING:
            return
        page = request.pages.get(0)
        if page is not None and (page.stamp, request.hot) not in done:
            limit_request()
            made = serve(request if brief else request._replace(pages={0: page}), store, brief=brief)
            done.update((made.stamps[place // PAGE_SIZE], place % PAGE_SIZE) for place in made.places)
