"""Guest RAM in huge pages of the host, once it is used: a thread gathers what the guest has filled while it runs.

What programs do with much memory then needs fewer of the host's page tables, and none of its small pages lie in each other's way in its
caches. A machine that is hardly used is not touched, nor is memory that forked machines share.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from gasang.host.memory import LazyMemory

FIRST_LOOK: Final = 2.0
"""Seconds: a machine that ends earlier has no use for it."""
SOON, SELDOM = 0.5, 16.0
"""Seconds between looks: each is twice the one before where nothing could be done."""
SHARE: Final = 20
"""The thread rests so many times as long as it has worked: the processor may be a hart's."""


class Gathering:
    """Looks after `memory` from `begin` on."""

    def __init__(self, memory: LazyMemory) -> None:
        self._memory = memory
        self._thread: threading.Thread | None = None

    def begin(self, stopping: threading.Event) -> None:
        """Go on until `stopping` is set, or the memory is copied on write."""
        self._thread = threading.Thread(target=self._serve, args=(stopping,), name="gathering", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Return when the memory is left alone; `stopping` is set."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self, stopping: threading.Event) -> None:
        rest = FIRST_LOOK
        while not stopping.wait(rest) and not self._memory.is_private:
            rest = SOON if self._gather(stopping) else min(2 * rest, SELDOM)

    def _gather(self, stopping: threading.Event) -> bool:
        """Whether something could be done."""
        found, began = False, time.thread_time()
        for done in self._memory.gather():
            found, ended = found or done, time.thread_time()
            if stopping.wait(SHARE * (ended - began)):
                break
            began = time.thread_time()
        return found
