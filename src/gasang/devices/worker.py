"""A host thread that does a device's slow work, one job after the other; a paused machine's holds it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

Job = Callable[[], None]


class Holdable(Protocol):
    """Does something beside the guest, and stands still while the machine does."""

    def hold(self) -> None:
        """Return once nothing is being done; nothing is until `release`. Never with the bus lock held."""
        ...

    def release(self) -> None:
        """Go on."""
        ...

    def renew(self) -> None:
        """In a process forked while this was held: go on here too."""
        ...

    def close(self) -> None:
        """End. Twice is once."""
        ...


class Worker:
    """Runs jobs in the order they were given. The thread starts with the first job and ends with `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._held = self._closing = False

    def __call__(self, job: Job) -> None:
        """Have `job` done after those given before. Calls come from one thread at a time (the bus lock sees to that)."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
        if self._thread is None:
            self._begin()

    def hold(self) -> None:
        """Return once no job is being done; those that wait do so until `release`. Never with the bus lock held: jobs take it."""
        with self._changed:
            self._held = True
            self._changed.wait_for(lambda: not self._busy)

    def release(self) -> None:
        """Go on with the jobs that wait."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def renew(self) -> None:
        """In a process forked while this was held: the parent's thread is not here, its jobs that wait are done here as well."""
        self._changed = threading.Condition()
        self._thread = None
        self._held = False
        if self._jobs:
            self._begin()

    def close(self) -> None:
        """Return once everything given is done. Never call this with the bus lock held: jobs take it to finish."""
        if self._thread is not None:
            with self._changed:
                self._closing, self._held = True, False
                self._changed.notify_all()
            self._thread.join()
            self._thread = None
            self._closing = False

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> Job | None:
        """The next job, None at the end of all."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held and (self._jobs or self._closing))
            if not self._jobs:
                return None
            self._busy = True
            return self._jobs.popleft()
