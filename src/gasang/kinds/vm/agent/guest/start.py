"""Starting a command: its pipes or its terminal, and its process."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.accounts import Accounts
from gasang.kinds.vm.agent.guest.calls import (
    ENOMEM,
    O_CLOEXEC,
    O_NOCTTY,
    O_NONBLOCK,
    O_RDWR,
    PTMX,
    SIGCHLD,
    ZERO,
    Given,
    close,
    map_memory,
    open_path,
    set_oom_score,
    text,
)
from gasang.kinds.vm.agent.guest.command import begin_session, live, take_streams, tell
from gasang.kinds.vm.agent.guest.pipes import REPORT, close_ends, make_pipe, no_ends
from gasang.kinds.vm.agent.guest.state import Ends, Session, State
from gasang.kinds.vm.agent.protocol import (
    ERRORS,
    OUTPUT,
    PROCESS,
    STREAMS,
    TERMINAL,
    USER,
    WANT_ERRORS,
    WANT_INPUT,
    WANT_OUTPUT,
    Exec,
)
from gasang.native import cast, i32, i64, native, ptr, ref, sizeof, syscall, u16, u64

_SET_CONTROLLING: Final = 0x540E  # TIOCSCTTY
_UNLOCK_TERMINAL: Final = 0x4004_5431  # TIOCSPTLCK
_OPEN_OTHER_SIDE: Final = 0x5441  # TIOCGPTPEER
_SET_SIZE: Final = 0x5414  # TIOCSWINSZ


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
def fork(g: ptr[Given]) -> i64:
    """A copy of this process: its number, 0 in the copy, or an error."""
    return syscall(g.calls.clone, SIGCHLD, 0, 0, 0, 0)


@native(inline=False)
def be_born(s: ptr[State], session: ptr[Session], command: ptr[Exec], ends: ptr[Ends]) -> i64:
    """The child's whole life until the program; its exit code where it comes to none."""
    g = s.given
    report = i64(ends.fds[REPORT])
    begin_session(g)
    result = take_streams(s, ends)
    if result >= 0 and command.flags & TERMINAL != 0:
        result = syscall(g.calls.ioctl, 0, _SET_CONTROLLING, 0)
    if result < 0:
        return tell(s, report, STREAMS, result)
    if s.whole_machine != 0:
        set_oom_score(g, ZERO)
    room = map_memory(g, sizeof(Accounts))
    if room == 0:
        return tell(s, report, USER, ENOMEM)
    return live(s, session.memory, command, cast(ptr[Accounts], room), report)


@native(inline=False)
def start(s: ptr[State], session: ptr[Session], command: ptr[Exec], ends: ptr[Ends]) -> None:
    """Start a command. What fails here or in the child is told in an END."""
    no_ends(ends)
    on_terminal = command.flags & TERMINAL != 0
    result = make_terminal(s, session, command, ends) if on_terminal else make_pipes(s, session, command, ends)
    if result >= 0:
        session.report = make_pipe(s, ends, REPORT, 0)
        result = session.report
    if result < 0:
        fail(s, session, STREAMS, result)
        close_ends(s, ends)
        return
    made = fork(s.given)
    if made == 0:
        code = be_born(s, session, command, ends)
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
