"""Signals: while a command prepares, those that end it unwind it. While a machine runs, a thread hears them (cli/listener.py)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

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


def in_main_thread() -> bool:
    """Whether this thread is the one that may say what a signal does."""
    threading = sys.modules.get("threading")  # a process that has not imported it has one thread
    return threading is None or threading.current_thread() is threading.main_thread()


@contextmanager
def ending_is_an_exception() -> Iterator[None]:
    """While inside, signals that would end the process raise Ended in the main thread; ignored ones (nohup) stay ignored."""
    if not in_main_thread():
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
