"""Signals while a machine runs: a thread of their own hears them.

Python runs a signal's handler between two of the main thread's steps. A main thread that waits for a machine may not take
such a step for hours, and a signal that arrives just before it begins to wait is not seen at all. The Listener therefore
has the signal written into a pipe (signal.set_wakeup_fd) and calls back from a thread that reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any

from gasang.cli.signals import in_main_thread


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
        if not in_main_thread():
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
