"""The compiled reader of logs, from the cache where nothing has changed: then nothing it is made of is parsed."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

from gasang.native.library import Library, load_library

if TYPE_CHECKING:
    from gasang.native.library import Parts

_lock = threading.Lock()


def _make() -> Parts:
    from gasang.kinds.container.supervisor.decode import decode, find_tail
    from gasang.kinds.container.supervisor.follow import drain, watch_folder
    from gasang.native.library import Parts

    return Parts([decode, find_tail, drain, watch_folder], {}, {})


@cache
def _load() -> Library:
    import gasang.host

    here = os.path.dirname(__file__)
    return load_library("logs", [here, os.path.dirname(here), os.path.dirname(str(gasang.host.__file__))], _make)


def load() -> Library:
    """The functions `decode`, `find_tail`, `drain` and `watch_folder`; the first call in a process links them."""
    with _lock:
        return _load()
