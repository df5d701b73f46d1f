"""The compile service as a machine sees it: requests that are answered some time, or never.

The hottest request goes first, one at a time: the machine decides what is next as late as it can. With a price, one waits until it is worth
what it costs, and so does the first start of the process. A process that ends is started again a few times; then there is no service, which
is told, and the machine goes on without.

With a code cache on disk, what still waits when the machine ends is not lost: another process compiles what is worth it for later starts,
a while, when the host has nothing else to do.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from bisect import insort
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gasang.accel.soft.jit.messages import Answer, Request, pack_request, read_answer
from gasang.accel.soft.jit.price import LIKELY, STARTS, Price

MOST_WAITING = 512
"""Requests that wait. Beyond that the coolest is forgotten: what stays hot asks again."""
MOST_STARTS = 4
SUBJECT = "hot code is only interpreted"
"""What is told when there is no service any more."""
LEAST = 8
"""Instructions of a region that is worth being asked for."""
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


@dataclass(eq=False)
class _Waiting:
    """A request, how hot its code is, and how many instructions the region has, as far as that is known."""

    heat: int
    request: Request
    steps: int = LIKELY


class CompileService:
    """A process that compiles; `answered` is called by a thread of the service's own, with each answer.

    `launch` starts it, and gives None where none can be had. `folder` is where the code cache is, if there is one: there is kept what was
    compiled, by the process itself. Without a `price` all is compiled as soon as it can be. `warn` hears why nothing is compiled any more.
    """

    def __init__(
        self,
        answered: Callable[[Answer], None],
        folder: Path | None = None,
        launch: Launch | None = None,
        price: Price | None = None,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._answered = answered
        self._warn = warn
        self._launch = launch or partial(launch_worker, folder)
        self._folder = folder
        self._price = price
        self._now: _Waiting | None = None
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False
        self._process: Worker | None = None
        self._warm = False
        self._thread: threading.Thread | None = None
        self.starts = 0
        self.lost = 0
        """Requests whose process ended over them."""
        self._code: int | None = None
        """With which code a process has ended last, as `subprocess` has it."""

    def start(self) -> None:
        """Begin to serve."""
        if self._price is None or self._price.start == 0:
            self._start_process()
        self._thread = threading.Thread(target=self._serve, name="jit", daemon=True)
        self._thread.start()

    def ask(self, heat: int, request: Request) -> list[int]:
        """Have something compiled. Does not wait. The numbers of requests that are forgotten for it."""
        with self._changed:
            self._enter(_Waiting(heat, request))
            forgotten = [other.request.number for other in self._waiting[MOST_WAITING:]]
            del self._waiting[MOST_WAITING:]
            self._tell(heat)
        return forgotten

    def takes(self, heat: int) -> bool:
        """Whether a request for code as hot as that would not be forgotten at once."""
        with self._changed:
            return len(self._waiting) < MOST_WAITING or heat >= self._waiting[-1].heat

    def forget(self, numbers: Collection[int]) -> list[int]:
        """Have these not compiled any more; those for which it was not too late."""
        with self._changed:
            found = [waiting.request.number for waiting in self._waiting if waiting.request.number in numbers]
            self._waiting = [waiting for waiting in self._waiting if waiting.request.number not in numbers]
        return found

    def hotter(self, heat: int, number: int, request: Callable[[], Request]) -> None:
        """What a request is about has become hotter, and may have been executed at further places.

        What it says by then is only asked for where that may soon be compiled.
        """
        is_near = self.may_be_worth(heat)
        made = request() if is_near else None
        with self._changed:
            waiting = self._now
            if waiting is None or waiting.request.number != number:
                waiting = next((one for one in self._waiting if one.request.number == number), None)
                if waiting is None:
                    return
                self._waiting.remove(waiting)
                waiting.heat = heat
                self._enter(waiting)
            waiting.heat, waiting.request = heat, made or waiting.request
            self._tell(heat)

    def may_be_worth(self, heat: int) -> bool:
        """Whether code as hot as that may be worth its compiling, as small as the region may be."""
        return self._price is None or self._price.gain(heat, 0) >= 0

    def _tell(self, heat: int) -> None:
        """Wake the thread up if code as hot as that may be worth something: it looks at all that waits."""
        if self.may_be_worth(heat):
            self._changed.notify_all()

    def _enter(self, waiting: _Waiting) -> None:
        """The hottest first, of equals the latest: what was hot earlier may be over."""
        insort(self._waiting, waiting, key=lambda one: (-one.heat, -one.request.number))

    def close(self) -> None:
        """End the process and the thread; what waits is forgotten, or kept for the next machine."""
        with self._changed:
            self._closed = True
            process = self._process
            self._changed.notify_all()
            left = [waiting for waiting in (self._now, *self._waiting) if waiting is not None]
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join()
        if self._folder is not None and self._thread is not None:
            _finish(list(filter(None, map(self._for_later, left))), self._folder)

    def _for_later(self, waiting: _Waiting) -> Request | None:
        """The request as it is left to be compiled for later starts; None if it is not worth that either."""
        if self._price is None:
            return waiting.request
        most = self._price.most(waiting.heat, STARTS)
        return waiting.request._replace(most=most) if most >= LEAST else None

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
        self._warm = False
        self._process = self._launch()

    def _serve(self) -> None:
        while (waiting := self._next()) is not None:
            if self._process is None and self.starts == 0:
                self._start_anew()
            if (process := self._process) is None:
                self._warn(f"{SUBJECT}: {self._why_not()}")
                return
            answer = self._exchange(process, waiting.request)
            if answer is None:
                self.lost += 1
                self._end(process)
                self._start_anew()
            elif answer.steps:
                self._put_back(waiting, answer.steps)
            else:
                if self._price is not None and answer.image:
                    if self._warm:  # the first that a process compiles takes what loading LLVM does, too
                        self._price.learn(len(answer.places), answer.seconds)
                    self._warm = True
                self._answered(answer)
        if self._process is not None:
            self._end(self._process)

    def _start_anew(self) -> None:
        """Have another process, if there may be one more."""
        with self._changed:
            if not self._closed and self.starts < MOST_STARTS:
                self._start_process()
            else:
                self._process = None

    def _put_back(self, waiting: _Waiting, steps: int) -> None:
        """It waits until it is hot enough for a region of so many instructions."""
        with self._changed:
            waiting.steps = steps
            self._enter(waiting)

    def _next(self) -> _Waiting | None:
        """The request to be sent now, as soon as one is worth it."""
        with self._changed:
            self._now = None
            self._changed.wait_for(lambda: self._closed or self._worthy() is not None)
            waiting = None if self._closed else self._worthy()
            if waiting is None:
                return None
            self._waiting.remove(waiting)
            if self._price is not None:
                waiting.request = waiting.request._replace(most=self._price.most(waiting.heat))
            self._now = waiting
            return waiting

    def _worthy(self) -> _Waiting | None:
        """The hottest that is worth what it costs, if all that are together are worth the start of a process where there is none."""
        if self._price is None:
            return self._waiting[0] if self._waiting else None
        gains = [(self._price.gain(waiting.heat, waiting.steps), waiting) for waiting in self._waiting]
        worth = [(gain, waiting) for gain, waiting in gains if gain >= 0]
        if not worth or (self._process is None and sum(gain for gain, _ in worth) < self._price.start):
            return None
        return worth[0][1]

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

    def _why_not(self) -> str:
        if self._code is None:
            return "the host starts no process that compiles it"
        how = f"signal {-self._code}" if self._code < 0 else f"exit code {self._code}"
        return f"the process that compiles it ends ({how})"

    def _end(self, process: Worker) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        self._code = process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):  # what could not be sent to it any more
            process.stdin.close()


def _command(start: str, folder: Path | None) -> list[str]:
    return [sys.executable, "-c", start, json.dumps(sys.path), *([str(folder)] if folder is not None else [])]


def _finish(requests: list[Request], folder: Path) -> None:
    """Have these compiled when nobody waits any more, by processes that go on by themselves; not where none can be started."""
    if not requests:
        return
    from gasang.accel.soft.jit import finishing  # most machines leave nothing

    with suppress(OSError):
        finishing.begin(_command(_FINISH, folder), [pack_request(one) for one in requests], folder)
