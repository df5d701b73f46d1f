"""The machine's one device lock as vCPUs want it: re-entrant, and nearly free for one thread, which it favours.

A guest's exit leaves the host's caches and its table of pages cold, and a lock of the library is several pages of code and data. So the
favoured thread takes none. It says that it is inside, looks whether somebody else wants the lock, and if so steps back and takes it like
anybody:

    lock.inside = True
    try:
        if not lock.wanted:
            …
    finally:
        lock.inside = False
        if lock.wanted:
            lock.left()

The others take a lock among themselves, say that they want it, and wait until it is not inside. Each side stores before it looks, and the
interpreter's own lock orders that; where there is none, nobody is favoured.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Protocol


class Lock(Protocol):
    """What holds a device together: a lock that its holder may take again."""

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; False where it is somebody else's and we do not wait."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None: ...


class FavouringLock:
    """`Lock`, with a thread that is favoured once it has asked for it."""

    __slots__ = ("_depth", "_favoured", "_holder", "_left", "_lock", "_nested", "inside", "wanted")

    def __init__(self) -> None:
        self.inside = False
        """Set by the favoured thread alone."""
        self.wanted = False
        """Set by who holds the lock among the others."""
        self._lock = threading.RLock()
        self._depth = 0
        self._holder: int | None = None
        self._nested = 0
        self._favoured: int | None = None
        self._left = threading.Event()

    def favour(self) -> bool:
        """Favour the calling thread from now on; False where that cannot be. It is not inside, and nobody else is favoured any more."""
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            return False
        self._favoured = threading.get_ident()
        return True

    def left(self) -> None:
        """For the favoured thread: it is not inside any more, and somebody may wait for that."""
        self._left.set()

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; False where it is somebody else's and we do not wait."""
        if self.inside and self._favoured == threading.get_ident():
            self._nested += 1
            return True
        if not self._lock.acquire(blocking):
            return False
        self._depth += 1
        if self._depth > 1:
            return True
        self._holder, self.wanted = threading.get_ident(), True
        try:
            if not self.inside or (blocking and self._wait()):
                return True
        except BaseException:  # a signal's handler, in the main thread
            self.release()
            raise
        self.release()
        return False

    def _wait(self) -> bool:
        """Until the favoured thread is not inside; that is True."""
        while True:
            self._left.clear()
            if not self.inside:
                return True
            self._left.wait()

    def release(self) -> None:
        """Give it back. Raises RuntimeError for whoever does not have it."""
        me = threading.get_ident()
        if self._nested and self._favoured == me:
            self._nested -= 1
            return
        if self._holder != me:
            raise RuntimeError("this thread does not hold the lock")
        self._depth -= 1
        if not self._depth:
            self._holder, self.wanted = None, False
        self._lock.release()

    __enter__ = acquire

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
