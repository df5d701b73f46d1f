"""What a process may use at most, set by itself (POSIX setrlimit). Hosts without limits have none."""

from __future__ import annotations

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


def yield_processor() -> None:
    """From now on others come first: this process has a tenth of what one of them has."""
    if hasattr(os, "nice"):
        os.nice(10)
