"""The launcher: a program of a few KiB that reads a plan from the descriptor its argument names, and follows it.

It is kept in a sealed memory file: while a process of ours is already among the container's, its /proc/PID/exe leads to something that
nobody can write, and its memory has nothing of the caller's in it.
"""

from __future__ import annotations

import os
from typing import Final

from gasang.host.syscalls import native_table
from gasang.kinds.container.spawn import follow, relocate
from gasang.native import cast, i32, native, null, ptr, syscall, u8, u64

_NR: Final = native_table()
NR_LSEEK: Final = _NR["lseek"]
NR_MMAP: Final = _NR["mmap"]
SEEK_END: Final = os.SEEK_END
READ_WRITE: Final = 3
MAP_PRIVATE: Final = 2
NO_PLAN: Final = 127


@native
def launch(stack: ptr[u64]) -> i32:
    """The program: its argument is the number of the descriptor."""
    text = cast(ptr[u8], stack[2])
    if stack[0] != 2 or text == null:
        return NO_PLAN
    descriptor: u64 = 0
    index: u64 = 0
    while text[index] != 0:
        descriptor = descriptor * 10 + u64(text[index] - 48)
        index += 1
    size = syscall(NR_LSEEK, descriptor, 0, SEEK_END)
    if size <= 0:
        return NO_PLAN
    address = syscall(NR_MMAP, 0, u64(size), READ_WRITE, MAP_PRIVATE, descriptor, 0)
    if address < 0 and address > -4096:
        return NO_PLAN
    plan = cast(ptr[u8], u64(address))
    relocate(plan)
    follow(plan)
    return NO_PLAN
