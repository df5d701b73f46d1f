"""A thread that waits for many sockets and deadlines at once. What it is told to do from elsewhere, it does between two waits.

A handler belongs to a registered socket (the selector's data) and gets the events; it must not block.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

Action = Callable[[], None]
Handler = Callable[[int], None]

_LOOK: Final = 1.0


class Deadlines:
    """What is to be done at a time, unless it was cancelled before."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._live: set[int] = set()
        self._numbers = itertools.count()

    def after(self, seconds: float, action: Action) -> int:
        """Do it then; a number to cancel it by."""
        number = next(self._numbers)
        self._live.add(number)
        heapq.heappush(self._heap, (monotonic() + seconds, number, action))
        return number

    def cancel(self, number: int) -> None:
        """Do not."""
        self._live.discard(number)

    def wait(self, now: float) -> float | None:
        """Seconds until the next; None if there is none."""
        while self._heap and self._heap[0][1] not in self._live:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def run(self, now: float) -> None:
        """Do what is due."""
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self._live):
            _, number, action = heapq.heappop(self._heap)
            if number in self._live:
                self._live.discard(number)
                action()


class Loop:
    """The thread, which starts with the first call. `selector` and `deadlines` are for code that runs in it."""

    def __init__(self, name: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.deadlines = Deadlines()
        self._name = name
        self._lock = threading.Lock()
        self._todo: list[Action] = []
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._thread: threading.Thread | None = None
        self._open = True

    @property
    def started(self) -> bool:
        """Whether anything was ever called."""
        return self._thread is not None

    def call(self, action: Action) -> None:
        """Do it in the thread, soon."""
        with self._lock:
            self._todo.append(action)
            if self._thread is None:
                self.selector.register(self._ear, selectors.EVENT_READ, self._obey)
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        with contextlib.suppress(BlockingIOError):
            self._bell.send(b"!")

    def finish(self, action: Action) -> None:
        """Do it in the thread, before this returns."""
        done = threading.Event()
        self.call(action)
        self.call(done.set)
        while not done.wait(_LOOK):
            if self._thread is None or not self._thread.is_alive():
                return

    def close(self, last: Action) -> None:
        """Do `last`, and end."""
        if self._thread is not None:
            self.call(lambda: self._end(last))
            self._thread.join()
        self.selector.close()
        self._bell.close()
        self._ear.close()

    def _end(self, last: Action) -> None:
        last()
        self._open = False

    def _obey(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        with self._lock:
            todo, self._todo = self._todo, []
        for action in todo:
            action()

    def _run(self) -> None:
        while self._open:
            for key, events in self.selector.select(self.deadlines.wait(monotonic())):
                # Closed by a handler earlier in this round: its descriptor may be another's by now.
                if self._open and self.selector.get_map().get(key.fd) is key:
                    key.data(events)
            self.deadlines.run(monotonic())
