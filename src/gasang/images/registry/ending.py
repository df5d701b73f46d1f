"""The end of a transfer that nobody wants any more: told in one thread, it reaches what others do, also while they wait for a registry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Cancelled(Exception):
    """The transfer is over: another part of it has failed, or nobody wants the rest."""


class Ending:
    """Set once, by `set` or at the end of its block; then whatever was added is called, and whoever waits is woken."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._called: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.set()

    def set(self) -> None:
        """It is over. Any thread may say so, more than once."""
        with self._lock:
            self._event.set()
            called, self._called = self._called, []
        for call in called:
            call()

    def add(self, call: Callable[[], object]) -> None:
        """Call this when it is over; at once where it is."""
        with self._lock:
            over = self._event.is_set()
            if not over:
                self._called.append(call)
        if over:
            call()

    def discard(self, call: Callable[[], object]) -> None:
        """Call it no more."""
        with self._lock:
            self._called = [known for known in self._called if known != call]

    def check(self) -> None:
        """Raise Cancelled where it is over."""
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass. Raises Cancelled as soon as it is over."""
        self._event.wait(seconds)
        self.check()
