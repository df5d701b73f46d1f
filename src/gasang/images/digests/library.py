"""The compiled SHA-256, from the cache where nothing has changed."""

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
    from gasang.images.digests.sha256 import hash_eight, hash_eight_wide, hash_one
    from gasang.native.library import Parts

    return Parts([hash_one, hash_eight, hash_eight_wide], {}, {})


@cache
def _load() -> Library:
    return load_library("digests", [os.path.dirname(__file__)], _make)


def load() -> Library:
    """The functions `hash_one`, `hash_eight` and `hash_eight_wide`; the first call in a process links them."""
    with _lock:
        return _load()
