"""The loop: wait for something, do it. The agent lives as long as the machine.

New connections come last in a round, so that a place is never taken anew in the round in which it became free.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import CLOCK_MONOTONIC, EAGAIN, EINTR, NANOSECONDS, clock, close, read, write
from gasang.kinds.vm.agent.guest.messages import pass_on, said_room, say, send, stream_room
from gasang.kinds.vm.agent.guest.sessions import accept, hang_up, hear, input_at, take_all
from gasang.kinds.vm.agent.guest.spare import forget, is_wanted, prepare
from gasang.kinds.vm.agent.guest.start import fail
from gasang.kinds.vm.agent.guest.state import BUSY, MOST_SESSIONS, OVER, RESERVE, TAKEN, Session, State
from gasang.kinds.vm.agent.protocol import CREDIT, END_SIZE, ENDED, HEADER_SIZE, STARTED, End
from gasang.native import boolean, cast, i16, i32, i64, native, ptr, ref, syscall, u8, u32, u64

POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
_CONNECTION, _INPUT, _OUTPUT, _ERRORS, _REPORT, _SIGNALS, _LISTENER = (kind << 8 for kind in range(1, 8))
_LINGER: Final = NANOSECONDS
"""How long outputs may stay open after the command's end: another process has them."""
_SOON: Final = NANOSECONDS // 10
_QUIET: Final = NANOSECONDS // 20
"""After so long without anything to do, a spare takes no command's time."""
_FOREVER: Final = (1 << 64) - 1
_NO_HANG: Final = 1


@native
def add(s: ptr[State], fd: i64, events: i16, meaning: u32) -> None:
    """One more descriptor to wait for."""
    polled = ref(s.polled[s.polled_count])
    polled.fd = i32(fd)
    polled.events = events
    polled.revents = 0
    s.meaning[s.polled_count] = meaning
    s.polled_count += 1


@native
def add_session(s: ptr[State], session: ptr[Session], index: u32) -> None:
    """What a session waits for."""
    may_flow = session.report < 0 and stream_room(session) != 0  # before a command's output it is told that it runs
    if session.streams[0].fd >= 0 and may_flow:
        add(s, session.streams[0].fd, POLLIN, _OUTPUT | index)
    if session.streams[1].fd >= 0 and may_flow:
        add(s, session.streams[1].fd, POLLIN, _ERRORS | index)
    if session.input >= 0 and session.input_from < session.input_to:
        add(s, session.input, POLLOUT, _INPUT | index)
    if session.report >= 0:
        add(s, session.report, POLLIN, _REPORT | index)
    events: i16 = POLLIN if session.taken < TAKEN and said_room(session) >= RESERVE else 0
    if session.said_from < session.said_to:
        events = events | POLLOUT
    add(s, session.fd, events, _CONNECTION | index)


@native
def gather(s: ptr[State]) -> u64:
    """Note what to wait for, and give nanoseconds for how long."""
    wait: u64 = _FOREVER
    s.polled_count = 0
    for i in range(u32(MOST_SESSIONS)):
        session = ref(s.sessions[i])
        if session.memory != 0:
            add_session(s, session, i)
            if session.phase == BUSY and session.exited != 0:
                wait = _SOON
    add(s, s.signals, POLLIN, _SIGNALS)
    if s.cannot_accept == 0:
        add(s, s.listener, POLLIN, _LISTENER)
    else:
        wait = _SOON
    s.cannot_accept = 0
    if wait == _FOREVER and s.spare == 0 and s.ending == 0:
        wait = _QUIET
    return wait


@native
def end_stream(s: ptr[State], session: ptr[Session], which: u64) -> None:
    """Nothing more comes from this output, and the host is told."""
    stream = ref(session.streams[which])
    if stream.fd != session.input:  # a terminal is both
        close(s.given, stream.fd)
    stream.fd = -1
    say(session, stream.kind, 0, cast(ptr[u8], ref(s.words)), 0)


@native
def pump(s: ptr[State], session: ptr[Session], which: u64) -> None:
    """Take what an output has."""
    if session.streams[which].fd >= 0 and stream_room(session) != 0 and not pass_on(s, session, ref(session.streams[which])):
        end_stream(s, session, which)


@native
def drain(s: ptr[State], session: ptr[Session], which: u64) -> None:
    """Take all that an output of a command that has ended still has, as far as there is room: the host hears of all of it at once."""
    while session.streams[which].fd >= 0 and stream_room(session) != 0:
        before = session.said_to
        pump(s, session, which)
        if session.said_to == before:  # another process has it open
            return


@native
def end_input(s: ptr[State], session: ptr[Session]) -> None:
    """The command's input ends. A terminal's does not: there is none but what is typed."""
    if session.terminal == 0:
        close(s.given, session.input)
        session.input = -1
    session.credit += session.input_to - session.input_from
    session.input_from = 0
    session.input_to = 0


@native(inline=False)
def push_input(s: ptr[State], session: ptr[Session]) -> None:
    """Give the command input."""
    while session.input >= 0 and session.input_from < session.input_to:
        n = write(s.given, session.input, input_at(session) + session.input_from, session.input_to - session.input_from)
        if n == EINTR:
            continue
        if n == EAGAIN:
            return
        if n < 0:
            end_input(s, session)
            return
        session.input_from += u64(n)
        session.credit += u64(n)
    if session.input_ending != 0 and session.input >= 0:
        end_input(s, session)
    if session.input_from == session.input_to:
        session.input_from = 0
        session.input_to = 0


@native
def hear_report(s: ptr[State], session: ptr[Session]) -> None:
    """The program runs, or the child tells why it cannot."""
    told = cast(ptr[i32], ref(s.words))
    n = read(s.given, session.report, cast(ptr[u8], told), 8)
    if n == EAGAIN or n == EINTR:
        return
    if n == 8:
        fail(s, session, u64(told[0]), -i64(told[1]))
        return
    say(session, STARTED, session.pid, cast(ptr[u8], told), 0)
    close(s.given, session.report)
    session.report = -1
    pump(s, session, 0)
    pump(s, session, 1)


@native(inline=False)
def reap(s: ptr[State]) -> None:
    """Bury those who have ended, commands whose host has gone among them."""
    g = s.given
    information = cast(ptr[u8], ref(s.words))  # struct signalfd_siginfo
    read(g, s.signals, information, 128)
    status = cast(ptr[u32], ref(s.words))
    while True:
        pid = syscall(g.calls.wait4, u64(i64(-1)), u64(status), _NO_HANG, 0)
        if pid <= 0:
            return
        if pid == s.ending:
            s.ending = 0
        if pid == s.spare:
            forget(s)
        for i in range(u64(MOST_SESSIONS)):
            session = ref(s.sessions[i])
            if session.memory != 0 and session.pid == pid and session.exited == 0:
                session.exited = 1
                session.status = status[0]
                session.deadline = clock(g, CLOCK_MONOTONIC, ref(s.words) + 32) + _LINGER


@native
def is_drained(s: ptr[State], session: ptr[Session]) -> boolean:
    """Whether everything of a command that has ended was passed on, or has been awaited for long enough."""
    if session.phase != BUSY or session.exited == 0 or session.report >= 0:
        return False
    if session.streams[0].fd < 0 and session.streams[1].fd < 0:
        return True
    return clock(s.given, CLOCK_MONOTONIC, ref(s.words)) >= session.deadline and stream_room(session) != 0


@native(inline=False)
def conclude(s: ptr[State], session: ptr[Session]) -> None:
    """Tell the command's end."""
    g = s.given
    for i in range(u64(2)):
        if session.streams[i].fd >= 0:
            end_stream(s, session, i)
    close(g, session.input)
    session.input = -1
    end = cast(ptr[End], ref(s.words))
    signal = session.status & 0x7F
    end.code = i32(signal + 128 if signal != 0 else session.status >> 8 & 0xFF)
    end.signal = i32(signal)
    end.stage = session.stage
    end.error = session.error
    say(session, ENDED, 0, cast(ptr[u8], end), END_SIZE)
    session.phase = OVER
    session.pid = 0


@native(inline=False)
def settle(s: ptr[State], session: ptr[Session]) -> None:
    """What follows from what has happened in a round: input goes on, credit and the end are told, all is sent."""
    g = s.given
    if session.taken >= HEADER_SIZE and take_all(s, session) < 0:
        hang_up(s, session)
        return
    if session.phase == BUSY:
        push_input(s, session)
        if session.credit != 0 and said_room(session) >= RESERVE:
            say(session, CREDIT, i64(session.credit), cast(ptr[u8], ref(s.words)), 0)
            session.credit = 0
        if session.exited != 0 and session.report < 0:
            drain(s, session, 0)
            drain(s, session, 1)
        if is_drained(s, session):
            conclude(s, session)
    if session.said_from < session.said_to and send(g, session) < 0:
        hang_up(s, session)


@native(inline=False)
def act(s: ptr[State], meaning: u32, events: i16) -> None:
    """One descriptor is ready."""
    kind = meaning & ~u32(0xFF)
    if kind == _SIGNALS:
        reap(s)
        return
    if kind == _LISTENER:
        accept(s)
        return
    session = ref(s.sessions[u64(meaning & 0xFF)])
    if session.memory == 0:
        return
    if kind == _OUTPUT:
        pump(s, session, 0)
    elif kind == _ERRORS:
        pump(s, session, 1)
    elif kind == _REPORT:
        hear_report(s, session)
    elif kind == _CONNECTION:
        gone = events & (POLLERR | POLLHUP) != 0 and events & POLLIN == 0
        if gone or (events & POLLIN != 0 and hear(s, session) < 0):
            hang_up(s, session)


@native
def run(s: ptr[State]) -> None:
    """For ever."""
    g = s.given
    while True:
        wait = gather(s)
        s.words[0] = wait // NANOSECONDS
        s.words[1] = wait % NANOSECONDS
        timeout = u64(ref(s.words)) if wait != _FOREVER else 0
        ready = syscall(g.calls.ppoll, u64(ref(s.polled)), u64(s.polled_count), timeout, 0, 8)
        if ready < 0:
            continue
        for i in range(u64(s.polled_count)):
            if s.polled[i].revents != 0:
                act(s, s.meaning[i], s.polled[i].revents)
        for i in range(u64(MOST_SESSIONS)):
            if s.sessions[i].memory != 0:
                settle(s, ref(s.sessions[i]))
        if is_wanted(s) or (ready == 0 and wait == _QUIET):
            prepare(s)
