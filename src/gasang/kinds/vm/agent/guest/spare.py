"""The spare: a copy of the agent that is made while nobody wants anything, and becomes the next command's program.

Most of what a command's start costs the guest needs no command: a process, its pipes, a session, the list of users. So that is done
ahead, and the spare waits at the end of a pipe for the EXEC, word for word as it came. It ends with that pipe. Where a command wants a
terminal, or is longer than a pipe holds, or there is no spare, one is started from nothing (start.py).

The spare has no descriptor but its own: what the agent closes later is closed then.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.accounts import Accounts, know_accounts
from gasang.kinds.vm.agent.guest.calls import EINTR, SIGCHLD, ZERO, Given, close, map_memory, read, set_oom_score, write
from gasang.kinds.vm.agent.guest.command import begin_session, live, take_streams
from gasang.kinds.vm.agent.guest.pipes import MOST_ENDS, REPORT, TOLD, close_ends, make_pipe, no_ends
from gasang.kinds.vm.agent.guest.state import BUSY, MEMORY, MOST_SESSIONS, VECTORS, Ends, Session, State
from gasang.kinds.vm.agent.protocol import ERRORS, HEADER_SIZE, OUTPUT, TERMINAL, WANT_ERRORS, WANT_INPUT, WANT_OUTPUT, Exec, Header
from gasang.native import boolean, cast, i32, i64, native, ptr, ref, sizeof, syscall, u8, u64

MOST: Final = 32 * 1024
"""Bytes of an EXEC that a spare is told: a pipe holds twice as much, so nobody waits."""
NO_MORE: Final = -1
"""Instead of a spare's number: there was none to be had, until a connection ends."""
_FIRST: Final = 3
_LAST: Final = 0xFFFF_FFFF
_KEPT: Final = 4


@native
def close_others(s: ptr[State], ends: ptr[Ends]) -> None:
    """In the spare: have no descriptor but its streams, its report, where it is told, and what every command may need."""
    kept = ref(s.words)
    kept[0] = u64(ends.fds[REPORT])
    kept[1] = u64(ends.fds[TOLD])
    kept[2] = u64(s.null)
    kept[3] = u64(s.tool)
    first: u64 = _FIRST
    while first < _LAST:
        least: u64 = _LAST
        for i in range(u64(_KEPT)):
            if kept[i] >= first and kept[i] < least:
                least = kept[i]
        if least > first:
            syscall(s.given.calls.close_range, first, least - 1 if least < _LAST else least, 0)
        first = least + 1


@native
def hear(g: ptr[Given], fd: i64, to: ptr[u8]) -> boolean:
    """Have the whole EXEC with its header; False where nobody wants the spare any more."""
    taken: u64 = 0
    wanted: u64 = HEADER_SIZE
    while taken < wanted:
        n = read(g, fd, to + taken, HEADER_SIZE + MOST - taken)
        if n == EINTR:
            continue
        if n <= 0:
            return False
        taken += u64(n)
        if taken >= HEADER_SIZE:
            wanted = HEADER_SIZE + u64(cast(ptr[Header], to).size)
    return True


@native(inline=False)
def wait(s: ptr[State], ends: ptr[Ends]) -> i64:
    """The spare's whole life until the program; its exit code where it comes to none."""
    g = s.given
    if take_streams(s, ends) < 0:
        return 0
    close_others(s, ends)
    memory = map_memory(g, MEMORY)
    room = map_memory(g, sizeof(Accounts))
    if memory == 0 or room == 0:
        return 0
    begin_session(g)
    if s.whole_machine != 0:
        set_oom_score(g, ZERO)
    know_accounts(g, cast(ptr[Accounts], room))
    content = cast(ptr[u8], memory)
    content[MEMORY - VECTORS] = 0  # their page is there then
    if not hear(g, i64(ends.fds[TOLD]), content):
        return 0
    command = cast(ptr[Exec], content + HEADER_SIZE)
    if command.flags & WANT_INPUT == 0:
        syscall(g.calls.dup3, u64(s.null), 0, 0)
    if command.flags & WANT_OUTPUT == 0:
        syscall(g.calls.dup3, u64(s.null), 1, 0)
    if command.flags & WANT_ERRORS == 0:
        syscall(g.calls.dup3, u64(s.null), 2, 0)
    return live(s, memory, command, cast(ptr[Accounts], room), i64(ends.fds[REPORT]))


@native
def forget(s: ptr[State]) -> None:
    """Close what leads to the spare, which ends then unless it has been told what it is."""
    for at in range(u64(MOST_ENDS)):
        close(s.given, i64(s.spare_ends.fds[at]))
    no_ends(ref(s.spare_ends))
    s.spare = 0


@native
def drop(s: ptr[State]) -> None:
    """Have no spare, as the machine ends: it is to be nobody that is waited for."""
    if s.spare > 0:
        forget(s)


@native
def make_ends(s: ptr[State], ends: ptr[Ends]) -> i64:
    """The pipes of a spare: its ends, and ours in the state; 0 or an error."""
    ours = ref(s.spare_ends)
    for at in range(u64(MOST_ENDS)):
        side: u64 = 1 if at == 0 or at == TOLD else 0
        mine = make_pipe(s, ends, at, side)
        if mine < 0:
            return mine
        ours.fds[at] = i32(mine)
    return 0


@native(inline=False)
def prepare(s: ptr[State]) -> None:
    """Make a spare, where there is none."""
    if s.spare != 0 or s.ending != 0:
        return
    ends = cast(ptr[Ends], ref(s.words) + 8)
    no_ends(ends)
    no_ends(ref(s.spare_ends))
    made = make_ends(s, ends)
    if made >= 0:
        made = syscall(s.given.calls.clone, SIGCHLD, 0, 0, 0, 0)
        if made == 0:
            code = wait(s, ends)
            syscall(s.given.calls.exit_group, u64(code))
    close_ends(s, ends)
    if made < 0:
        forget(s)
        made = NO_MORE
    s.spare = made


@native
def is_wanted(s: ptr[State]) -> boolean:
    """Whether it is time for a spare: there is none, and no command runs that it would take time from."""
    if s.spare != 0 or s.ending != 0:
        return False
    for i in range(u64(MOST_SESSIONS)):
        if s.sessions[i].memory != 0 and s.sessions[i].phase == BUSY:
            return False
    return True


@native(inline=False)
def become(s: ptr[State], session: ptr[Session], command: ptr[Exec]) -> boolean:
    """Have the spare become a command; False where it cannot, and one is to be started from nothing."""
    header = cast(ptr[Header], cast(ptr[u8], command) - HEADER_SIZE)
    size = u64(header.size)
    if s.spare <= 0 or command.flags & TERMINAL != 0 or size > MOST:
        return False
    told = i64(s.spare_ends.fds[TOLD])
    if write(s.given, told, cast(ptr[u8], header), HEADER_SIZE + size) != i64(HEADER_SIZE + size):
        forget(s)  # it has been killed
        return False
    ours = ref(s.spare_ends)
    session.pid = s.spare
    session.report = i64(ours.fds[REPORT])
    ours.fds[REPORT] = NO_MORE
    if command.flags & WANT_INPUT != 0:
        session.input = i64(ours.fds[0])
        ours.fds[0] = NO_MORE
    if command.flags & WANT_OUTPUT != 0:
        session.streams[0].kind = OUTPUT
        session.streams[0].fd = i64(ours.fds[1])
        ours.fds[1] = NO_MORE
    if command.flags & WANT_ERRORS != 0:
        session.streams[1].kind = ERRORS
        session.streams[1].fd = i64(ours.fds[2])
        ours.fds[2] = NO_MORE
    forget(s)
    return True
