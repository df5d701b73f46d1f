"""Starting a command: its pipes or its terminal, and its process."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    O_CLOEXEC,
    O_NOCTTY,
    O_NONBLOCK,
    O_RDWR,
    PTMX,
    SIGCHLD,
    Given,
    close,
    open_path,
    text,
)
from gasang.kinds.vm.agent.guest.command import live
from gasang.kinds.vm.agent.guest.state import BUSY, Session, State
from gasang.kinds.vm.agent.protocol import (
    ERRORS,
    OUTPUT,
    PROCESS,
    STREAMS,
    TERMINAL,
    WANT_ERRORS,
    WANT_INPUT,
    WANT_OUTPUT,
    Exec,
)
from gasang.native import array, cast, i32, i64, length, native, ptr, ref, struct, syscall, u16, u64

_SET_FLAGS: Final = 4  # F_SETFL
_UNLOCK_TERMINAL: Final = 0x4004_5431  # TIOCSPTLCK
_OPEN_OTHER_SIDE: Final = 0x5441  # TIOCGPTPEER
_SET_SIZE: Final = 0x5414  # TIOCSWINSZ


@struct
class Ends:
    """The process's ends of its streams, and of the report; -1 is none."""

    fds: array[i32] = length(4)


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
def resize(s: ptr[State], terminal: i64, rows: u16, columns: u16) -> i64:
    """Tell a terminal its size; 0 or an error."""
    size = cast(ptr[u16], ref(s.words))
    size[0] = rows
    size[1] = columns
    size[2] = 0
    size[3] = 0
    return syscall(s.given.calls.ioctl, u64(terminal), _SET_SIZE, u64(size))


@native
def make_terminal(s: ptr[State], session: ptr[Session], command: ptr[Exec], ends: ptr[Ends]) -> i64:
    """A terminal of the guest's; 0 or an error."""
    g = s.given
    master = open_path(g, text(g, PTMX), O_RDWR | O_NOCTTY | O_NONBLOCK)
    if master < 0:
        return master
    session.input = master
    session.terminal = 1
    cast(ptr[i32], ref(s.words))[0] = 0
    syscall(g.calls.ioctl, u64(master), _UNLOCK_TERMINAL, u64(ref(s.words)))
    other = syscall(g.calls.ioctl, u64(master), _OPEN_OTHER_SIDE, O_RDWR | O_NOCTTY | O_CLOEXEC)
    if other < 0:
        return other
    for at in range(u64(3)):
        ends.fds[at] = i32(other)
    session.streams[0].fd = master
    session.streams[0].kind = OUTPUT
    if command.rows != 0 or command.columns != 0:
        resize(s, master, command.rows, command.columns)
    return 0


@native
def make_pipes(s: ptr[State], session: ptr[Session], command: ptr[Exec], ends: ptr[Ends]) -> i64:
    """Pipes for what is wanted, nothing (/dev/null) for the rest; 0 or an error."""
    for at in range(u64(3)):
        ends.fds[at] = i32(s.null)
    if command.flags & WANT_INPUT != 0:
        session.input = make_pipe(s, ends, 0, 1)
        if session.input < 0:
            return session.input
    if command.flags & WANT_OUTPUT != 0:
        session.streams[0].kind = OUTPUT
        session.streams[0].fd = make_pipe(s, ends, 1, 0)
        if session.streams[0].fd < 0:
            return session.streams[0].fd
    if command.flags & WANT_ERRORS != 0:
        session.streams[1].kind = ERRORS
        session.streams[1].fd = make_pipe(s, ends, 2, 0)
        if session.streams[1].fd < 0:
            return session.streams[1].fd
    return 0


@native
def close_ends(s: ptr[State], ends: ptr[Ends]) -> None:
    """Close what only the process needs."""
    for at in range(u64(4)):
        fd = i64(ends.fds[at])
        if fd >= 0 and fd != s.null and (at == 0 or ends.fds[at] != ends.fds[at - 1]):
            close(s.given, fd)


@native
def fork(g: ptr[Given]) -> i64:
    """A copy of this process: its number, 0 in the copy, or an error."""
    return syscall(g.calls.clone, SIGCHLD, 0, 0, 0, 0)


@native(inline=False)
def start(s: ptr[State], session: ptr[Session], command: ptr[Exec], ends: ptr[Ends]) -> None:
    """Start a command. What fails here or in the child is told in an END."""
    session.phase = BUSY
    session.flags = command.flags
    for at in range(u64(4)):
        ends.fds[at] = -1
    on_terminal = command.flags & TERMINAL != 0
    result = make_terminal(s, session, command, ends) if on_terminal else make_pipes(s, session, command, ends)
    if result >= 0:
        session.report = make_pipe(s, ends, 3, 0)
        result = session.report
    if result < 0:
        fail(s, session, STREAMS, result)
        close_ends(s, ends)
        return
    made = fork(s.given)
    if made == 0:
        code = live(s, session, command, ref(ends.fds[0]), i64(ends.fds[3]))
        syscall(s.given.calls.exit_group, u64(code))
    close_ends(s, ends)
    if made < 0:
        fail(s, session, PROCESS, made)
    else:
        session.pid = made


@native
def fail(s: ptr[State], session: ptr[Session], stage: u64, error: i64) -> None:
    """The command has come to nothing."""
    session.stage = i32(stage)
    session.error = i32(-error)
    session.exited = 1
    for i in range(u64(2)):
        if session.streams[i].fd != session.input:
            close(s.given, session.streams[i].fd)
        session.streams[i].fd = -1
    close(s.given, session.input)
    close(s.given, session.report)
    session.input = -1
    session.report = -1
