"""The compiled loop, from the cache where nothing has changed."""

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
    from gasang.devices.virtio.pump.loop import lend, take_back, wait
    from gasang.native.library import Parts

    return Parts([wait, lend, take_back], {}, {})


@cache
def _load() -> Library:
    return load_library("virtqueues", [os.path.dirname(__file__)], _make)


def load() -> Library:
    """The functions `wait`, `lend` and `take_back`; the first call in a process links them. Raises ImportError without a compiler."""
    with _lock:
        return _load()
