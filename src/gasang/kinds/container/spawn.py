"""`spawn` and `watch`: make a process by a plan (see layout.py), and hear what becomes of it.

`spawn` clones, does the parent's operations, and returns with the first event: the program runs, the child waits at a stop, or an operation
failed. The clone shares the caller's memory only until it has become the launcher: a small program, sealed, that reads the plan again from
its descriptor. So a caller of any size pays the same, and /proc/self/exe of a process that is not yet the container's leads to a file that
nobody can write. Without a launcher the clone is a copy that does the plan itself: right for a caller that is small and sealed already.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Final

from gasang.host.mounts import AT_EMPTY_PATH
from gasang.host.namespaces import CLONE_INTO_CGROUP, CLONE_PARENT, CLONE_PIDFD, CLONE_VFORK, CLONE_VM
from gasang.host.processes import WEXITED
from gasang.host.syscalls import native_table
from gasang.kinds.container.layout import (
    BEFORE,
    CHILD,
    CONTROL_END,
    CONTROL_SLOT,
    FAILED,
    IN_CHILD,
    IN_PARENT,
    IN_SPAWN,
    MAGIC,
    PID_SLOT,
    PIDFD_SLOT,
    RUNNING,
    STATUS_END,
    VERSION,
    Descriptor,
    Event,
    Header,
    Relocation,
    Spawned,
)
from gasang.kinds.container.operations import fail, run_list, tell
from gasang.native import cast, i32, i64, native, ptr, ref, syscall, u8, u32, u64

_NR: Final = native_table()
NR_CLONE3: Final = _NR["clone3"]
NR_CLOSE: Final = _NR["close"]
NR_CLOSE_RANGE: Final = _NR["close_range"]
NR_DUP3: Final = _NR["dup3"]
NR_EXECVEAT: Final = _NR["execveat"]
NR_EXIT: Final = _NR["exit_group"]
NR_FCNTL: Final = _NR["fcntl"]
NR_KILL: Final = _NR["pidfd_send_signal"]
NR_PIDFD_OPEN: Final = _NR["pidfd_open"]
NR_PIPE2: Final = _NR["pipe2"]
NR_READ: Final = _NR["read"]
NR_SIGPROCMASK: Final = _NR["rt_sigprocmask"]
NR_WAITID: Final = _NR["waitid"]
CLOSE_ON_EXEC: Final = os.O_CLOEXEC
F_DUPFD_CLOEXEC: Final = 1030
SIGCHLD: Final = int(signal.SIGCHLD)
SIGKILL: Final = int(signal.SIGKILL)
SIG_BLOCK: Final = 0
SIG_SETMASK: Final = 2
EINTR: Final = -errno.EINTR
EINVAL: Final = -errno.EINVAL
EVERY_SIGNAL: Final = (1 << 64) - 1
HIGHEST: Final = (1 << 32) - 1
CLONE_ARGS_SIZE: Final = 88
P_PID: Final = 1

# What the cells of the header hold, by index; 8 to 10 are an Event.
STATUS_PIPE: Final = 0
CONTROL_PIPE: Final = 1
MASK: Final = 2
OLD_MASK: Final = 3
PIDFD: Final = 4
ARGUMENTS: Final = 5  # argv of the launcher: three words
EVENT: Final = 8
NUMBER: Final = 11  # the text of argv[1]: the plan's descriptor in decimal
EMPTY: Final = 12  # an empty text, and an empty envp


@native
def relocate(plan: ptr[u8]) -> None:
    """Put in the addresses that the buffer holds of itself."""
    header = cast(ptr[Header], plan)
    relocations = cast(ptr[Relocation], plan + u64(header.relocations.offset))
    data = plan + u64(header.data.offset)
    for index in range(header.relocations.count):
        cast(ptr[u64], data + u64(relocations[index].place))[0] = u64(data) + u64(relocations[index].target)


@native
def hand_over(plan: ptr[u8]) -> i64:
    """In the clone: give each descriptor its number, first all out of the way, and close the others."""
    header = cast(ptr[Header], plan)
    descriptors = cast(ptr[Descriptor], plan + u64(header.descriptors.offset))
    free = u64(header.first_free)
    for index in range(header.descriptors.count):
        source = descriptors[index].source
        if source == STATUS_END:
            source = cast(ptr[i32], ref(header.cells[STATUS_PIPE]))[1]
        if source == CONTROL_END:
            source = cast(ptr[i32], ref(header.cells[CONTROL_PIPE]))[0]
        moved = syscall(NR_FCNTL, u64(source), F_DUPFD_CLOEXEC, free)
        if moved < 0:
            return moved
        descriptors[index].moved = i32(moved)
    for index in range(header.descriptors.count):
        result = syscall(NR_DUP3, u64(descriptors[index].moved), u64(descriptors[index].target), 0)
        if result < 0:
            return result
    return 0


@native
def keep_only(plan: ptr[u8]) -> None:
    """Close what was not handed over, and have execve close what only the plan needs."""
    header = cast(ptr[Header], plan)
    descriptors = cast(ptr[Descriptor], plan + u64(header.descriptors.offset))
    syscall(NR_CLOSE_RANGE, u64(header.first_free), HIGHEST, 0)
    for index in range(header.descriptors.count):
        if descriptors[index].keep == 0:
            syscall(NR_FCNTL, u64(descriptors[index].target), 2, 1)  # F_SETFD, FD_CLOEXEC


@native
def become_launcher(plan: ptr[u8]) -> i64:
    """In the clone: execute the launcher, which is told the plan's descriptor."""
    header = cast(ptr[Header], plan)
    text = cast(ptr[u8], ref(header.cells[NUMBER]))
    number = u32(header.plan)
    at: u64 = 6
    text[7] = 0
    while True:
        text[at] = u8(48 + number % 10)
        number = number // 10
        if number == 0:
            break
        at -= 1
    header.cells[EMPTY] = 0
    header.cells[ARGUMENTS] = u64(ref(header.cells[EMPTY]))
    header.cells[ARGUMENTS + 1] = u64(text) + at
    header.cells[ARGUMENTS + 2] = 0
    empty = u64(ref(header.cells[EMPTY]))
    return syscall(NR_EXECVEAT, u64(header.launcher), empty, u64(ref(header.cells[ARGUMENTS])), empty, AT_EMPTY_PATH)


@native
def set_clone(header: ptr[Header], flags: u64) -> u64:
    """Fill in struct clone_args; its address."""
    for index in range(u64(11)):
        header.clone[index] = 0
    header.clone[0] = flags
    header.clone[1] = u64(ref(header.cells[PIDFD]))
    if flags & CLONE_PARENT == 0:
        header.clone[4] = SIGCHLD  # with CLONE_PARENT the child's is that of the caller, and none may be given
    if header.cgroup >= 0 and (flags & CLONE_INTO_CGROUP) != 0:
        header.clone[10] = u64(header.cgroup)
    return u64(ref(header.clone[0]))


@native(inline=False)
def be_child(plan: ptr[u8]) -> None:
    """The container's first process, up to its execve."""
    header = cast(ptr[Header], plan)
    failed = cast(ptr[u32], ref(header.cells[MASK]))
    result = run_list(plan, IN_CHILD, failed)
    fail(plan, IN_CHILD, failed[0], result)
    syscall(NR_EXIT, 127)


@native(inline=False)
def follow(plan: ptr[u8]) -> None:
    """Do the plan in this process, all its descriptors being in place: as the child, or as the helper that makes it."""
    header = cast(ptr[Header], plan)
    keep_only(plan)
    if header.joined == 0:
        be_child(plan)
    failed = cast(ptr[u32], ref(header.cells[MASK]))
    result = run_list(plan, BEFORE, failed)
    if result < 0:
        fail(plan, BEFORE, failed[0], result)
        syscall(NR_EXIT, 127)
    child = syscall(NR_CLONE3, set_clone(header, header.flags | CLONE_PARENT), CLONE_ARGS_SIZE)
    if child == 0:
        be_child(plan)
    if child < 0:
        fail(plan, IN_SPAWN, 0, child)
        syscall(NR_EXIT, 127)
    tell(header.status, cast(ptr[Event], ref(header.cells[EVENT])), CHILD, 0, 0, 0, u64(child))
    syscall(NR_EXIT, 0)


@native(inline=False)
def be_clone(plan: ptr[u8]) -> None:
    """What the clone does: get its descriptors, and follow the plan or leave that to the launcher."""
    header = cast(ptr[Header], plan)
    result = hand_over(plan)
    if result >= 0 and header.launcher < 0:
        follow(plan)
    if result >= 0:
        result = become_launcher(plan)
    fail(plan, IN_SPAWN, 1, result)
    syscall(NR_EXIT, 127)


@native
def watch(status: i32, outcome: ptr[Spawned], event: ptr[Event]) -> i32:
    """Wait for the next event of the status pipe; `event` is memory to read it into."""
    while True:
        got = syscall(NR_READ, u64(status), u64(event), 24)
        if got == EINTR:
            continue
        if got <= 0:
            outcome.event = RUNNING
            return i32(got)
        break
    outcome.event = event.event
    outcome.list = event.list
    outcome.index = event.index
    outcome.error = event.error
    outcome.value = event.value
    return 0


@native
def reap(kind: u64, number: u64) -> None:
    """Wait until a child of ours has ended, and forget it."""
    while True:
        if syscall(NR_WAITID, kind, number, 0, WEXITED, 0) != EINTR:
            return


@native
def adopt_child(plan: ptr[u8], helper: u64, outcome: ptr[Spawned]) -> i32:
    """After the clone was a helper: hear of the child it has made, and reap the helper."""
    header = cast(ptr[Header], plan)
    syscall(NR_CLOSE, u64(outcome.pidfd))
    outcome.pidfd = -1
    outcome.pid = -1
    result = watch(outcome.status, outcome, cast(ptr[Event], ref(header.cells[EVENT])))
    reap(P_PID, helper)
    if outcome.event != CHILD:
        return result
    pidfd = syscall(NR_PIDFD_OPEN, outcome.value, 0)
    if pidfd < 0:
        return i32(pidfd)
    syscall(NR_FCNTL, u64(pidfd), 2, 1)
    outcome.pid = i32(outcome.value)
    outcome.pidfd = i32(pidfd)
    return 0


@native
def do_parents_part(plan: ptr[u8], outcome: ptr[Spawned]) -> i32:
    """The operations done while the child waits; if one fails the child is ended."""
    header = cast(ptr[Header], plan)
    slots = cast(ptr[u64], plan + u64(header.slots.offset))
    slots[PID_SLOT] = u64(outcome.pid)
    slots[PIDFD_SLOT] = u64(outcome.pidfd)
    slots[CONTROL_SLOT] = u64(outcome.control)
    failed = cast(ptr[u32], ref(header.cells[MASK]))
    result = run_list(plan, IN_PARENT, failed)
    if result < 0:
        syscall(NR_KILL, u64(outcome.pidfd), SIGKILL, 0, 0)
        outcome.event = FAILED
        outcome.list = IN_PARENT
        outcome.index = failed[0]
        outcome.error = i32(-result)
        return 0
    return watch(outcome.status, outcome, cast(ptr[Event], ref(header.cells[EVENT])))


@native
def clone_for(plan: ptr[u8]) -> i64:
    """Clone with every signal blocked, so that no handler of ours runs in the child."""
    header = cast(ptr[Header], plan)
    flags: u64 = CLONE_PIDFD
    if header.joined == 0:
        flags |= header.flags
    if header.cgroup >= 0:  # a helper is there for its child: what shares the container's processes must not have the descriptor
        flags |= CLONE_INTO_CGROUP
    if header.launcher >= 0:
        flags |= CLONE_VM | CLONE_VFORK
    header.cells[MASK] = EVERY_SIGNAL
    syscall(NR_SIGPROCMASK, SIG_BLOCK, u64(ref(header.cells[MASK])), u64(ref(header.cells[OLD_MASK])), 8)
    pid = syscall(NR_CLONE3, set_clone(header, flags), CLONE_ARGS_SIZE)
    if pid == 0:
        be_clone(plan)
    syscall(NR_SIGPROCMASK, SIG_SETMASK, u64(ref(header.cells[OLD_MASK])), 0, 8)
    return pid


@native
def spawn(plan: ptr[u8], size: u64, outcome: ptr[Spawned]) -> i32:
    """Make a process by a plan; 0, or the error number of what kept it from being made, negative.

    With 0, `outcome.event` says how far it came, and `status`, `control` and, where there is a process, `pidfd` are open: whoever called
    closes them and reaps the process, also after FAILED.
    """
    header = cast(ptr[Header], plan)
    if header.magic != MAGIC or header.version != VERSION or header.size != size:
        return EINVAL
    relocate(plan)
    status = cast(ptr[i32], ref(header.cells[STATUS_PIPE]))
    control = cast(ptr[i32], ref(header.cells[CONTROL_PIPE]))
    result = syscall(NR_PIPE2, u64(status), CLOSE_ON_EXEC)
    if result < 0:
        return i32(result)
    result = syscall(NR_PIPE2, u64(control), CLOSE_ON_EXEC)
    if result < 0:
        syscall(NR_CLOSE, u64(status[0]))
        syscall(NR_CLOSE, u64(status[1]))
        return i32(result)
    pid = clone_for(plan)
    syscall(NR_CLOSE, u64(status[1]))
    syscall(NR_CLOSE, u64(control[0]))
    if pid < 0:
        syscall(NR_CLOSE, u64(status[0]))
        syscall(NR_CLOSE, u64(control[1]))
        return i32(pid)
    outcome.pid = i32(pid)
    outcome.pidfd = cast(ptr[i32], ref(header.cells[PIDFD]))[0]
    outcome.status = status[0]
    outcome.control = control[1]
    if header.joined != 0:
        result_of_helper = adopt_child(plan, u64(pid), outcome)
        if result_of_helper < 0 or outcome.event != CHILD:
            return result_of_helper
    return do_parents_part(plan, outcome)
