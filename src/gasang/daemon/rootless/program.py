"""The keeper's program: it makes namespaces and holds them, for the daemon and the next one, by doing nothing.

It is asked to make them before anybody is in them, because only from outside can users be mapped into them (newuidmap(1)). What it is
given: a pipe to tell how that went, an error number in 8 bytes, and one to be let go on by a byte. Where that ends without one, whoever
started it is gone, and so is it. One more word says that it is in the others already, and makes the network alone.
"""

from __future__ import annotations

from typing import Final

from gasang.host.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER
from gasang.host.syscalls import native_table
from gasang.native import i32, native, ptr, syscall, u64

_NR: Final = native_table()
NR_UNSHARE: Final = _NR["unshare"]
NR_READ: Final = _NR["read"]
NR_WRITE: Final = _NR["write"]
NR_CLOSE: Final = _NR["close"]
NR_PPOLL: Final = _NR["ppoll"]
MADE: Final = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET
TELL: Final = 3
"""The descriptor on which it tells."""
HEAR: Final = 4
"""The one from which it reads."""


@native
def keep(stack: ptr[u64]) -> i32:
    """The program."""
    flags: u64 = MADE
    if stack[0] > 1:
        flags = CLONE_NEWNET
    result = syscall(NR_UNSHARE, flags)
    stack[0] = u64(0 - result)  # its arguments are nothing it needs
    syscall(NR_WRITE, TELL, u64(stack), 8)
    syscall(NR_CLOSE, TELL)
    if result < 0 or syscall(NR_READ, HEAR, u64(stack), 1) != 1:
        return 1
    syscall(NR_CLOSE, HEAR)
    while True:
        syscall(NR_PPOLL, 0, 0, 0, 0, 0)
    return 0
