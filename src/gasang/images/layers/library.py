"""The compiled unpacker, from the cache where nothing has changed: then nothing it is made of is parsed."""

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
    from gasang.images.layers.advance import advance
    from gasang.images.layers.finish import finish_folders
    from gasang.images.layers.walk import forget
    from gasang.native.library import Parts

    return Parts([advance, finish_folders, forget], {}, {})


@cache
def _load() -> Library:
    return load_library("layers", [os.path.dirname(__file__)], _make)


def load() -> Library:
    """The functions `advance`, `finish_folders` and `forget`; the first call in a process links them."""
    with _lock:
        return _load()
