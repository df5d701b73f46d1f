"""Signals: while a command prepares, those that end it unwind it; while a machine runs, a thread of their own hears them.

Python runs a signal's handler between two of the main thread's steps. A main thread that waits for a machine may not take
such a step for hours, and a signal that arrives just before it begins to wait is not seen at all. The Listener therefore
has the signal written into a pipe (signal.set_wakeup_fd) and calls back from a thread that reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Final

_NAMES: Final = ("SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """A signal asked this process to end. Unwinds like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def ending_signals() -> tuple[int, ...]:
    """The signals of this host that ask a process to end."""
    return tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


def _raise_ended(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


@contextmanager
def ending_is_an_exception() -> Iterator[None]:
    """While inside, signals that would end the process raise Ended in the main thread; ignored ones (nohup) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in ending_signals()}
    for number, handler in previous.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _raise_ended)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if handler is not None:
                signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """What the main thread does with a signal that a Listener hears."""


class Listener:
    """Calls back from its own thread when a signal arrives. Made and closed in the main thread; elsewhere it hears nothing."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._undo = ExitStack()
        self._started = False

    def listen(self, number: int, callback: Callable[[], None], in_main: Callable[[int, FrameType | None], Any] = _ignore) -> None:
        """Call `callback` at each signal `number`, and `in_main` when the main thread next takes a step."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._started:
            self._start()
        self._callbacks[number] = callback
        previous = signal.signal(number, in_main)
        self._undo.callback(signal.signal, number, previous if previous is not None else signal.SIG_DFL)

    def _start(self) -> None:
        self._started = True
        read, write = os.pipe()
        os.set_blocking(write, False)
        previous = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._hear, args=(read,), name="signals", daemon=True)
        thread.start()

        def stop() -> None:
            signal.set_wakeup_fd(previous)
            os.write(write, b"\0")
            thread.join()
            os.close(read)
            os.close(write)

        self._undo.callback(stop)

    def _hear(self, read: int) -> None:
        while True:
            for number in os.read(read, 64):
                if number == 0:
                    return
                if number in self._callbacks:
                    self._callbacks[number]()

    def close(self) -> None:
        """Put all as it was."""
        self._undo.close()
