"""Where the harts of a paused machine stand still.

Whoever pauses closes the gate and asks the harts to leave their run loops; each comes here as soon as its last instruction is done. The
gate counts them: while it is closed and all are here, nothing of the machine's processors changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gasang.core.errors import StateError


class Gate:
    """A gate for `harts` threads."""

    def __init__(self, harts: int) -> None:
        self.closed = False
        self._harts = harts
        self._here = 0
        self._changed = threading.Condition()

    def close(self) -> None:
        """From now on harts stop here. Raises StateError if it is closed already: two cannot pause one machine."""
        with self._changed:
            if self.closed:
                raise StateError("machine", "it is paused already", "resume it first")
            self.closed = True

    def open(self) -> None:
        """Let them go on; the caller wakes them."""
        with self._changed:
            self.closed = False

    def tell(self) -> None:
        """Something has happened that whoever waits for the harts must see."""
        with self._changed:
            self._changed.notify_all()

    def wait_for_all(self, stopping: threading.Event, patience: float) -> bool:
        """Whether all harts are here, after `patience` seconds at most; False at once where the machine ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._here == self._harts or stopping.is_set(), patience)
            return self._here == self._harts

    @contextmanager
    def standing(self) -> Iterator[None]:
        """A hart stands here for as long as the block lasts."""
        with self._changed:
            self._here += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._here -= 1
