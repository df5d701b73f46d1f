"""The compiled spawn and the launcher's program, from the cache where nothing has changed: then nothing they are made of is parsed."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

from gasang.native.library import Library, load_library

if TYPE_CHECKING:
    from gasang.native.library import Parts

LAUNCHER = "launcher"
_lock = threading.Lock()


def _make() -> Parts:
    from gasang.kinds.container.launcher import launch
    from gasang.kinds.container.spawn import spawn, watch
    from gasang.native.library import Parts
    from gasang.native.program import program

    return Parts([spawn, watch], {}, {LAUNCHER: program(launch)})


@cache
def _load() -> Library:
    import gasang.host

    return load_library("container", [os.path.dirname(__file__), os.path.dirname(str(gasang.host.__file__))], _make)


def load() -> Library:
    """The functions `spawn` and `watch`, and the launcher's program as data; the first call in a process links them."""
    with _lock:
        return _load()
