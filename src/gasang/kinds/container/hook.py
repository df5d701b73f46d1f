"""Running a hook from within a plan: a program that gets the container's state as its input and must end well, in time."""

from __future__ import annotations

import errno
import signal
from typing import Final

from gasang.host.namespaces import CLONE_PIDFD
from gasang.host.processes import P_PIDFD, WEXITED
from gasang.host.syscalls import native_table
from gasang.native import cast, fill, i32, i64, native, ptr, syscall, u8, u64

_NR: Final = native_table()
NR_PIPE2: Final = _NR["pipe2"]
NR_CLONE3: Final = _NR["clone3"]
NR_CLOSE: Final = _NR["close"]
NR_DUP3: Final = _NR["dup3"]
NR_EXECVE: Final = _NR["execve"]
NR_EXIT: Final = _NR["exit_group"]
NR_PPOLL: Final = _NR["ppoll"]
NR_WAITID: Final = _NR["waitid"]
NR_WRITE: Final = _NR["write"]
NR_KILL: Final = _NR["pidfd_send_signal"]
SIGCHLD: Final = int(signal.SIGCHLD)
SIGKILL: Final = int(signal.SIGKILL)
EINTR: Final = -errno.EINTR
TIMED_OUT: Final = -errno.ETIMEDOUT
CLOSE_ON_EXEC: Final = 0o2000000
POLLIN: Final = 1
EXITED: Final = 1
HOOK_EXITED: Final = 1000
"""An error number above this is a hook's exit code…"""
HOOK_KILLED: Final = 2000
"""…and above this the signal that ended it."""
NOT_STARTED: Final = 127


@native(inline=False)
def become_hook(input_end: u64, a: ptr[u64]) -> None:
    """In the new process: the state as standard input, then the program."""
    syscall(NR_DUP3, input_end, 0, 0)
    syscall(NR_EXECVE, a[0], a[1], a[2])
    syscall(NR_EXIT, NOT_STARTED)


@native
def wait_for_hook(pidfd: u64, milliseconds: u64, scratch: ptr[u8]) -> i64:
    """Its end as a result: 0 if it ended well."""
    waited = cast(ptr[i32], scratch + 128)
    waited[0] = i32(pidfd)
    waited[1] = POLLIN
    time = cast(ptr[u64], scratch + 136)
    time[0] = milliseconds // 1000
    time[1] = (milliseconds % 1000) * 1000000
    result: i64 = EINTR
    while result == EINTR:
        result = syscall(NR_PPOLL, u64(waited), 1, 0 if milliseconds == 0 else u64(time), 0, 8)
    if result == 0:
        syscall(NR_KILL, pidfd, SIGKILL, 0, 0)
    details = cast(ptr[i32], scratch + 256)  # struct siginfo: code at 8, status at 24
    syscall(NR_WAITID, P_PIDFD, pidfd, u64(details), WEXITED, 0)
    if result <= 0:
        return TIMED_OUT if result == 0 else result
    status = i64(details[6])
    if status == 0:
        return 0
    return -HOOK_EXITED - status if details[2] == EXITED else -HOOK_KILLED - status


@native
def run_hook(a: ptr[u64], scratch: ptr[u8]) -> i64:
    """Run args 0 (path), 1 (argv), 2 (envp) with args 3 (bytes), 4 (length) as input, for at most args 5 milliseconds; 0: no limit."""
    fill(scratch, 0, 512)
    ends = cast(ptr[i32], scratch + 96)
    clone = cast(ptr[u64], scratch)
    result = syscall(NR_PIPE2, u64(ends), CLOSE_ON_EXEC)
    if result < 0:
        return result
    clone[0] = CLONE_PIDFD
    clone[1] = u64(scratch) + 104
    clone[4] = SIGCHLD
    child = syscall(NR_CLONE3, u64(clone), 88)
    if child == 0:
        become_hook(u64(ends[0]), a)
    syscall(NR_CLOSE, u64(ends[0]))
    if child < 0:
        syscall(NR_CLOSE, u64(ends[1]))
        return child
    syscall(NR_WRITE, u64(ends[1]), a[3], a[4])
    syscall(NR_CLOSE, u64(ends[1]))
    pidfd = u64(cast(ptr[i32], scratch + 104)[0])
    result = wait_for_hook(pidfd, a[5], scratch)
    syscall(NR_CLOSE, pidfd)
    return result
