"""The switch's compiled loop, from the cache where nothing has changed."""

from __future__ import annotations

import os
import threading
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gasang.core.errors import UnsupportedError
from gasang.host.syscalls import machine_name
from gasang.native.library import Library, load_library

if TYPE_CHECKING:
    from gasang.native.library import Parts

_lock = threading.Lock()


def _make() -> Parts:
    from gasang.native.library import Parts
    from gasang.network.switch.forwarding import leave
    from gasang.network.switch.loop import run

    return Parts([run, leave], {}, {})


@cache
def _load() -> Library:
    if machine_name() != "x86_64" or find_spec("llvmlite") is None:
        raise UnsupportedError("switch in user space", "it is compiled, for x86-64, with llvmlite", "install llvmlite")
    return load_library("switch", [os.path.dirname(__file__)], _make)


def load() -> Library:
    """The functions `run` and `leave`; the first call in a process links them. Raises UnsupportedError where they cannot be compiled."""
    with _lock:
        return _load()
