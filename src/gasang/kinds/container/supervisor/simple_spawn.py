"""The least spawn there is."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import O_CLOEXEC, Call, close
from gasang.native import cast, i32, i64, native, ptr, struct, syscall, u8, u32, u64

FAILED: Final = 1
STOPPED_EVENT: Final = 3
RUNNING_EVENT: Final = 5
_CLONE = 0x4000 | 0x1000 | 17  # VFORK | PIDFD | SIGCHLD


@struct
class Spawned:
    """What became of a plan."""

    pid: i32
    pidfd: i32
    status: i32
    control: i32
    event: u32
    list: u32
    index: u32
    error: i32
    value: u64


@native(inline=False)
def be_child(plan: ptr[u64], base: u64, status: i64, room: ptr[u64]) -> None:
    count = plan[0]
    for i in range(count + 1 + plan[1]):
        if plan[3 + i] != 0:
            plan[3 + i] = plan[3 + i] + base
    syscall(Call.setsid)
    if plan[2] != 0:
        syscall(Call.ioctl, 0, 0x540E, 0)
    syscall(Call.prctl, 1, 9, 0, 0, 0)
    room[0] = 0
    syscall(Call.rt_sigprocmask, 2, u64(room), 0, 8)
    syscall(Call.close_range, 3, 0xFFFF_FFFF, 4)
    result = syscall(Call.execve, plan[3], u64(plan + 3), u64(plan + (4 + count)))
    room[0] = u64(-result)
    syscall(Call.write, u64(status), u64(room), 8)
    syscall(Call.exit_group, 127)


@native
def spawn(plan: ptr[u8], size: u64, outcome: ptr[Spawned]) -> i32:
    words = cast(ptr[u64], plan)
    ends = cast(ptr[i32], outcome)
    made = syscall(Call.pipe2, u64(ends), O_CLOEXEC)
    if made < 0:
        return i32(made)
    reader = i64(ends[0])
    writer = i64(ends[1])
    room = cast(ptr[u64], outcome)
    pid = syscall(Call.clone, _CLONE, 0, u64(outcome) + 4, 0, 0)
    if pid == 0:
        be_child(words, u64(plan), writer, room)
    close(writer)
    outcome.pid = i32(pid)
    outcome.status = i32(reader)
    outcome.control = -1
    if pid < 0:
        return i32(pid)
    outcome.list = 1
    outcome.index = 0
    outcome.event = FAILED if syscall(Call.read, u64(reader), u64(outcome) + 24, 8) == 8 else RUNNING_EVENT
    outcome.error = i32(cast(ptr[u64], u64(outcome) + 24)[0])
    return 0
