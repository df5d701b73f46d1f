"""Work that is done only while nobody else wants a processor (SCHED_IDLE; sched(7)), so that it does not delay what it is done for.

A thread without privileges cannot come back from there: so the work has a thread of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress


def while_idle(work: Callable[[], None]) -> None:
    """Have it done by such a thread, and return then; where the host does not schedule like that, by one like any other."""

    def run() -> None:
        if sys.platform.startswith("linux"):
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        work()

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    thread.join()
