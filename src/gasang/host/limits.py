"""What a process may use at most, set by itself (POSIX setrlimit). Hosts without limits have none."""

from __future__ import annotations

import contextlib
import os
import sys


def limit_memory(most: int) -> None:
    """Bytes of data that this process may have: what wants more fails."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def limit_time(seconds: int) -> None:
    """Processor time that this process may still use, about; then the host ends it. May be called again."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def open_as_many_as_allowed(most: int = 1 << 16) -> None:
    """Files and sockets, of which a process may have fewer than it is allowed to permit itself; no more than `most`."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, most)) if hard != resource.RLIM_INFINITY else most, hard))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def yield_processor() -> None:
    """From now on others come first: this process has half of what one of them has.

    With a tenth of it a compiler on a busy host took 11 s for what takes 1.4, while the machine interpreted that code.
    """
    if hasattr(os, "nice"):
        os.nice(3)


def use_idle_processors() -> None:
    """From now on this process has only what nobody else wants, where the host knows such processes (sched(7), SCHED_IDLE)."""
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
