"""The process: made by its plan, told signals, waited for, and its end recorded."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container import layout
from gasang.kinds.container.layout import Spawned
from gasang.kinds.container.spawn import spawn, watch
from gasang.kinds.container.supervisor.calls import (
    EALREADY,
    EINTR,
    EINVAL,
    ESRCH,
    Call,
    close,
    steady_clock,
    unmap,
    wall_clock,
    write,
)
from gasang.kinds.container.supervisor.clients import finish_all
from gasang.kinds.container.supervisor.messages import announce
from gasang.kinds.container.supervisor.protocol import (
    DRAINING,
    EXIT_RECORD,
    EXITED,
    FD_CONSOLE,
    FD_EXTRA,
    FINISHED,
    RUNNING,
    START_RECORD,
    STARTED,
    STOPPED,
    TERMINAL_GIVEN,
    WAITING,
)
from gasang.kinds.container.supervisor.record import (
    EXIT_WORD,
    STARTED_WORD,
    count_oom,
    force_record,
    open_oom,
    write_record,
)
from gasang.kinds.container.supervisor.state import State
from gasang.kinds.container.supervisor.stdio import make_nothing, make_streams, take_terminal
from gasang.kinds.container.supervisor.streams import end_stream
from gasang.native import cast, i32, i64, native, ptr, ref, syscall, u8, u32, u64

_WNOHANG, _WALL = 1, 0x4000_0000
_MILLISECOND: Final = 1_000_000
_SIGKILL: Final = 9
_NOT_MADE: Final = 127 << 8  # the wait status of a process that could not be made


@native(inline=False)
def start(s: ptr[State]) -> None:
    """Make the process."""
    outcome = ref(s.outcome)
    open_oom(s)
    s.oom_before = count_oom(s)
    s.status.failed_errno = 0
    result = make_streams(s)
    if result >= 0:
        outcome.pidfd = -1
        outcome.status = -1
        outcome.control = -1
        plan = cast(ptr[u8], s.plan) + s.config.plan_offset
        result = i64(spawn(plan, s.config.plan_length, outcome))
    if s.config.extra != 0:
        syscall(Call.close_range, FD_EXTRA, u64(FD_EXTRA + s.config.extra) - 1, 0)
    make_nothing(s)
    if s.config.flags & TERMINAL_GIVEN == 0:
        syscall(Call.close, FD_CONSOLE)
    if result < 0:
        s.status.failed_list = layout.IN_SPAWN
        s.status.failed_errno = i32(-result)
        end(s, _NOT_MADE)
        return
    s.pidfd = i64(outcome.pidfd)
    s.watched = i64(outcome.status)
    s.barrier = i64(outcome.control)
    s.status.pid = outcome.pid
    s.status.state = STOPPED
    hear(s, outcome)


@native
def release(s: ptr[State]) -> None:
    """Let the process go on that waits in its plan."""
    room = ref(s.text)
    room[0] = 1
    s.stopped = 0
    write(s.barrier, room, 1)


@native(inline=False)
def hear(s: ptr[State], outcome: ptr[Spawned]) -> None:
    """Something has come of the plan."""
    take_terminal(s)
    if outcome.event == layout.FAILED:
        s.status.failed_list = i32(outcome.list)
        s.status.failed_operation = i32(outcome.index)
        s.status.failed_errno = outcome.error
        forget_plan(s)
        if s.pidfd < 0:
            end(s, _NOT_MADE)
        else:
            syscall(Call.pidfd_send_signal, u64(s.pidfd), _SIGKILL, 0, 0)
    elif outcome.event == layout.STOPPED or outcome.event == layout.NOTIFY:
        s.stopped = 1
        s.status.stop = u32(outcome.value)
        if s.may_start != 0:
            release(s)
    elif outcome.event == layout.RUNNING:
        forget_plan(s)
        if s.stopped != 0:  # the pipe has closed because it was killed where it waited
            return
        s.status.state = RUNNING
        s.status.started = wall_clock(ref(s.words))
        open_oom(s)
        close(write_record(s, START_RECORD, STARTED_WORD))
        announce(s, STARTED, 0, 0)


@native
def hear_more(s: ptr[State]) -> None:
    """The status pipe of the plan has something."""
    watch(i32(s.watched), ref(s.outcome), ref(s.event))
    hear(s, ref(s.outcome))


@native
def go_on(s: ptr[State]) -> i64:
    """GO_ON has come; 0 or an error."""
    if s.stopped == 0 or s.barrier < 0:
        return EINVAL
    release(s)
    return 0


@native
def forget_plan(s: ptr[State]) -> None:
    """The plan is done, well or not."""
    close(s.watched)
    s.watched = -1
    close(s.barrier)
    s.barrier = -1
    unmap(s.plan, s.plan_size)
    s.plan_size = 0


@native
def may_start(s: ptr[State]) -> i64:
    """START has come; 0 or an error."""
    if s.may_start != 0:
        return EALREADY
    s.may_start = 1
    if s.status.state == WAITING:
        start(s)
    elif s.stopped != 0:
        release(s)
    return 0


@native
def signal(s: ptr[State], which: i64) -> i64:
    """Send the process a signal; 0 or an error."""
    if s.pidfd < 0 or s.exited != 0:
        return ESRCH
    return syscall(Call.pidfd_send_signal, u64(s.pidfd), u64(which), 0, 0)


@native(inline=False)
def reap(s: ptr[State]) -> None:
    """Bury who has ended: the process, and orphans that have become ours."""
    while True:
        room = cast(ptr[i32], ref(s.words))
        pid = syscall(Call.wait4, u64(i64(-1)), u64(room), _WNOHANG | _WALL, 0)
        if pid == EINTR:
            continue
        if pid <= 0:
            return
        if pid == i64(s.status.pid) and s.exited == 0:
            end(s, u32(room[0]))


@native(inline=False)
def end(s: ptr[State], status: u32) -> None:
    """The process has ended with a wait status. One whose plan has failed was never the program: how it was ended says nothing."""
    if s.status.failed_errno != 0:
        status = _NOT_MADE
    number = status & 0x7F
    s.exited = 1
    s.status.signal = i32(number)
    s.status.code = i32(128 + number) if number != 0 else i32(status >> 8 & 0xFF)
    s.status.oom = 1 if count_oom(s) > s.oom_before else 0
    s.status.finished = wall_clock(ref(s.words))
    s.status.state = DRAINING
    forget_plan(s)
    s.deadline = steady_clock(ref(s.words)) + u64(s.config.linger) * _MILLISECOND


@native
def drained(s: ptr[State]) -> None:
    """Whether or not output is still open: it is over when nobody has it open, or when waiting for that has been long enough."""
    if s.exited == 0 or s.status.state != DRAINING:
        return
    is_open = s.streams[0].fd >= 0 or s.streams[1].fd >= 0
    if is_open and steady_clock(ref(s.words)) < s.deadline:
        return
    close(s.console)
    s.console = -1
    for i in range(u64(2)):
        stream = ref(s.streams[i])
        if stream.fd >= 0 or stream.carried != 0:
            end_stream(s, stream)
    close(s.input)
    s.input = -1
    close(s.pidfd)
    s.pidfd = -1
    s.status.state = FINISHED
    record = write_record(s, EXIT_RECORD, EXIT_WORD)
    finish_all(s)
    announce(s, EXITED, 0, 0)
    force_record(s, record)
    s.deadline = 0
