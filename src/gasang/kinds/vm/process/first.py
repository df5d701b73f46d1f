"""The first process of a family's process namespace: it waits for the others, its children sooner or later, and ends with the last.

The kernel ends a process namespace with its first process. So that is neither a machine, whose twins outlive it, nor a twin, but
this: a native process of a few pages, which hears nothing and does nothing.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

import gasang.host
from gasang.host.syscalls import native_table
from gasang.native import NativeFunction, i32, native, ptr, syscall, u64
from gasang.native.kept_program import kept_program

NR_WAIT: Final = native_table()["wait4"]
ANY: Final = (1 << 64) - 1
ECHILD: Final = -10


@native
def first(stack: ptr[u64]) -> i32:
    """The program."""
    while syscall(NR_WAIT, ANY, 0, 0, 0) != ECHILD:
        pass
    return 0


def _entry() -> NativeFunction:
    return first


@cache
def first_program() -> bytes:
    """The program. Raises what `kept_program` raises."""
    return kept_program("first-process", [os.path.dirname(__file__), os.path.dirname(str(gasang.host.__file__))], _entry)
