"""A command as a process of its own: it begins without looking for garbage, and ends without taking itself apart.

While modules are imported nothing becomes garbage, and Python would look for some a hundred times. At the end the host takes all memory
back at once, where Python would first take down every object, one after the other. Only what others may notice is still done:
functions for the end (atexit, and with it weakref.finalize) are called, and the streams are written out.
"""

from __future__ import annotations

import gc
import os
import sys

from gasang.cli.main import main


def command() -> int:
    """Run the process's command line and end the process; returns its exit code only where that is better left to Python."""
    gc.disable()
    code = main(ready=_collect)
    if not (_is_watched() or _has_threads()):
        _leave(code)
    return code


def _collect() -> None:
    """Look for garbage from now on, among what is made from now on."""
    gc.freeze()
    gc.enable()


def _is_watched() -> bool:
    """Whether somebody wants to see the end: a debugger, a profiler, a person who asked for a prompt behind it (-i)."""
    return bool(sys.gettrace() or sys.getprofile() or sys.flags.inspect)


def _has_threads() -> bool:
    """Whether threads may be left for which Python waits."""
    threading = sys.modules.get("threading")
    return threading is not None and sum(not thread.daemon for thread in threading.enumerate()) > 1


def _leave(code: int) -> None:
    """End the process; return where what it has still to say cannot be written, which Python tells as it does."""
    import atexit

    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code & 0xFF)
