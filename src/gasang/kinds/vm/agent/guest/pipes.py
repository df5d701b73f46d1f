"""Pipes between the agent and a process that it starts."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import O_CLOEXEC, O_NONBLOCK, close
from gasang.kinds.vm.agent.guest.state import Ends, State
from gasang.native import cast, i32, i64, native, ptr, ref, syscall, u64

REPORT: Final = 3
"""Where a process tells why it cannot become its program."""
TOLD: Final = 4
"""Where a spare hears what it is to be."""
MOST_ENDS: Final = 5
_SET_FLAGS: Final = 4  # F_SETFL


@native
def no_ends(ends: ptr[Ends]) -> None:
    """There are none yet."""
    for at in range(u64(MOST_ENDS)):
        ends.fds[at] = -1


@native
def make_pipe(s: ptr[State], ends: ptr[Ends], at: u64, ours: u64) -> i64:
    """A pipe for one of the process's ends; our end (its end `ours`: 0 reads, 1 writes), which never waits, or an error."""
    room = cast(ptr[i32], ref(s.words))
    made = syscall(s.given.calls.pipe2, u64(room), O_CLOEXEC)
    if made < 0:
        return made
    ends.fds[at] = room[1 - ours]
    mine = i64(room[ours])
    syscall(s.given.calls.fcntl, u64(mine), _SET_FLAGS, O_NONBLOCK)
    return mine


@native
def close_ends(s: ptr[State], ends: ptr[Ends]) -> None:
    """Close what only the process needs."""
    for at in range(u64(MOST_ENDS)):
        fd = i64(ends.fds[at])
        if fd >= 0 and fd != s.null and (at == 0 or ends.fds[at] != ends.fds[at - 1]):
            close(s.given, fd)
