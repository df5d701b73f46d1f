"""vCPUs' threads that stand still together: one thread asks for it, the others come to a stand, run on, or end."""

from __future__ import annotations

import threading


class Standing:
    """Counts the threads that run. `attention` is set while none is to: the machine is to stand still, or to end."""

    def __init__(self) -> None:
        self.attention = threading.Event()
        self._changed = threading.Condition()
        self._running = 0
        self._ended = False

    def begin(self, threads: int) -> None:
        """So many threads begin to run."""
        with self._changed:
            self._running = threads

    def stand(self) -> None:
        """For a thread that runs: stand still while that is wanted."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()
            while self.attention.is_set() and not self._ended:
                self._changed.wait()
            self._running += 1

    def leave(self) -> None:
        """For a thread that runs: it ends."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait(self, patience: float) -> bool:
        """Until none runs; False where one still does after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, patience)

    def go(self) -> None:
        """Let them run on, unless they are to end."""
        with self._changed:
            if not self._ended:
                self.attention.clear()
                self._changed.notify_all()

    def end(self) -> None:
        """None is to stand any more, nor to run: from now on `attention` stays set."""
        with self._changed:
            self._ended = True
            self.attention.set()
            self._changed.notify_all()
