"""The compile service as a machine sees it: requests that are answered some time, or never.

The hottest request goes first, one at a time: the machine decides what is next as late as it can. A process that ends is started again
a few times; then there is no service, and the machine goes on without.

With a code cache on disk, what still waits when the machine ends is not lost: another process compiles it for the next one, a while, when
the host has nothing else to do.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path

from gasang.accel.soft.jit.messages import Answer, Request, pack_request, read_answer

MOST_WAITING = 192
"""Requests that wait. Beyond that the coolest is forgotten: what stays hot asks again."""
STARTS = 4
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gasang.accel.soft.jit.worker import main; main(*sys.argv[2:])"
_FINISH = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gasang.accel.soft.jit.finishing import main; main(*sys.argv[2:])"


class Worker(subprocess.Popen[bytes]):
    """A process that compiles, with requests on its standard input and answers on its standard output."""

    def __init__(self, words: list[str], descriptors: Collection[int] = ()) -> None:
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        super().__init__(words, stdin=pipe, stdout=pipe, stderr=nowhere, pass_fds=descriptors)

    def forget(self) -> None:
        """In a forked process: it is the parent's, and no thread is left that reads or writes here."""
        assert self.stdin is not None
        assert self.stdout is not None
        for stream in (self.stdin, self.stdout):
            let_go(stream.fileno())
        self.returncode = 0


Launch = Callable[[], "Worker | None"]


def let_go(descriptor: int) -> None:
    """Have a descriptor lead nowhere; its number stays taken, for whoever still has it."""
    ours, theirs = socket.socketpair()  # a jail has no /dev/null
    with ours, theirs:
        os.dup2(ours.fileno(), descriptor, inheritable=False)


def launch_worker(folder: Path | None = None) -> Worker | None:
    """A process that compiles; None where the host executes nothing. `folder` is where it keeps what it has compiled."""
    try:
        return Worker(_command(_START, folder))
    except OSError:
        return None


class CompileService:
    """A process that compiles; `answered` is called by a thread of the service's own, with each answer.

    `launch` starts it, and gives None where none can be had. `folder` is where the code cache is, if there is one: there is kept what was
    compiled, by the process itself.
    """

    def __init__(self, answered: Callable[[Answer], None], folder: Path | None = None, launch: Launch | None = None) -> None:
        self._answered = answered
        self._launch = launch or partial(launch_worker, folder)
        self._folder = folder
        self._now: Request | None = None
        self._waiting: list[tuple[int, Request]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._process: Worker | None = None
        self._thread: threading.Thread | None = None
        self.starts = 0
        self.lost = 0
        """Requests whose process ended over them."""

    def start(self) -> None:
        """Begin to serve."""
        self._start_process()
        self._thread = threading.Thread(target=self._serve, name="jit", daemon=True)
        self._thread.start()

    def ask(self, heat: int, request: Request) -> list[int]:
        """Have something compiled. Does not wait. The numbers of requests that are forgotten for it."""
        with self._changed:
            self._waiting.append((heat, request))
            self._sort()
            forgotten = [other.number for _, other in self._waiting[MOST_WAITING:]]
            del self._waiting[MOST_WAITING:]
            self._changed.notify_all()
        return forgotten

    def forget(self, numbers: Collection[int]) -> list[int]:
        """Have these not compiled any more; those for which it was not too late."""
        with self._changed:
            found = [request.number for _, request in self._waiting if request.number in numbers]
            self._waiting = [entry for entry in self._waiting if entry[1].number not in numbers]
        return found

    def hotter(self, number: int, heat: int) -> None:
        """What a request is about has become hotter."""
        with self._changed:
            self._waiting = [(heat if request.number == number else before, request) for before, request in self._waiting]
            self._sort()

    def _sort(self) -> None:
        """The hottest first, of equals the latest: what was hot earlier may be over."""
        self._waiting.sort(key=lambda entry: (-entry[0], -entry[1].number))

    def close(self) -> None:
        """End the process and the thread; what waits is forgotten, or kept for the next machine."""
        with self._changed:
            self._closed = True
            process = self._process
            self._changed.notify_all()
            left = [request for request in (self._now, *(request for _, request in self._waiting)) if request is not None]
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join()
        if self._folder is not None and process is not None and left:
            _finish(left, self._folder)

    def forget_parent(self) -> None:
        """In a forked process: the service is the parent's."""
        if self._process is not None:
            self._process.forget()
        self._closed, self._process, self._thread = True, None, None

    @property
    def process(self) -> int | None:
        """The process's number."""
        return None if self._process is None else self._process.pid

    def _start_process(self) -> None:
        self.starts += 1
        self._process = self._launch()

    def _serve(self) -> None:
        while (process := self._process) is not None and (request := self._next()) is not None:
            answer = self._exchange(process, request)
            if answer is not None:
                self._answered(answer)
                continue
            self.lost += 1
            self._end(process)
            with self._changed:
                if not self._closed and self.starts < STARTS:
                    self._start_process()
                else:
                    self._process = None
        if process is not None:
            self._end(process)

    def _next(self) -> Request | None:
        with self._changed:
            self._now = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._now = None if self._closed else self._waiting.pop(0)[1]
            return self._now

    def _exchange(self, process: Worker, request: Request) -> Answer | None:
        """The answer; None if the process has ended over it, or does not speak as agreed."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(pack_request(request))
            process.stdin.flush()
            return read_answer(process.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError, KeyError):
            return None

    def _end(self, process: Worker) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):  # what could not be sent to it any more
            process.stdin.close()


def _command(start: str, folder: Path | None) -> list[str]:
    return [sys.executable, "-c", start, json.dumps(sys.path), *([str(folder)] if folder is not None else [])]


def _finish(requests: list[Request], folder: Path) -> None:
    """Have these compiled when nobody waits any more, by a process that goes on by itself; not where none can be started."""
    with suppress(OSError), tempfile.TemporaryFile() as file:
        for request in requests:
            file.write(pack_request(request))
        file.seek(0)
        nowhere = subprocess.DEVNULL
        subprocess.run(_command(_FINISH, folder), stdin=file, stdout=nowhere, stderr=nowhere, check=False)
