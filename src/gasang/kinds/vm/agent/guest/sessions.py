"""Connections: who may connect, what they say, and their end. Whoever breaks a rule is hung up on."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    EAGAIN,
    EINTR,
    EINVAL,
    O_CLOEXEC,
    O_NONBLOCK,
    close,
    map_memory,
    read,
    release,
    unmap,
)
from gasang.kinds.vm.agent.guest.command import check_exec
from gasang.kinds.vm.agent.guest.messages import may_speak
from gasang.kinds.vm.agent.guest.requests import serve
from gasang.kinds.vm.agent.guest.spare import NO_MORE, become
from gasang.kinds.vm.agent.guest.start import resize, start
from gasang.kinds.vm.agent.guest.state import BUSY, IDLE, MEMORY, MOST_SESSIONS, OVER, SAID, TAKEN, Ends, Session, State
from gasang.kinds.vm.agent.protocol import (
    EXEC,
    HEADER_SIZE,
    INPUT,
    MAGIC,
    MOST_KIND,
    RESIZE,
    SIGNAL,
    VERSION,
    WINDOW,
    Exec,
    Header,
)
from gasang.native import boolean, cast, copy, i64, native, ptr, ref, syscall, u8, u16, u32, u64

HOST: Final = 2
"""The host's context ID (virtio 1.2, 5.10.4). Who connects from another, a program in the guest say, is not served."""
_ADDRESS_SIZE: Final = 16
_NONBLOCK_CLOEXEC: Final = O_NONBLOCK | O_CLOEXEC
_MOST_SIGNAL: Final = 64
_MUCH: Final = 4096
"""A message longer than this has its room given back."""


@native
def is_hosts(s: ptr[State]) -> boolean:
    """Whether the address in `words`, struct sockaddr_vm, is the host's."""
    return s.is_vsock == 0 or cast(ptr[u32], ref(s.words))[2] == HOST


@native(inline=False)
def accept(s: ptr[State]) -> None:
    """Somebody has connected."""
    g = s.given
    size = cast(ptr[u32], ref(s.words) + 8)
    size[0] = _ADDRESS_SIZE
    fd = syscall(g.calls.accept4, u64(s.listener), u64(ref(s.words)), u64(size), _NONBLOCK_CLOEXEC)
    if fd < 0:
        s.cannot_accept = 1  # most likely there are no descriptors left
        return
    if is_hosts(s):
        for i in range(u64(MOST_SESSIONS)):
            session = ref(s.sessions[i])
            if session.memory == 0:
                session.memory = s.kept if s.kept != 0 else map_memory(g, MEMORY)
                s.kept = 0
                if session.memory == 0:
                    break
                open_session(session, fd)
                if hear(s, session) < 0:  # most say at once what they want
                    hang_up(s, session)
                return
    close(g, fd)


@native
def open_session(session: ptr[Session], fd: i64) -> None:
    """A connection without a command."""
    session.fd = fd
    session.taken = 0
    session.said_from = 0
    session.said_to = 0
    session.phase = IDLE
    session.flags = 0
    session.pid = 0
    session.input = -1
    session.input_from = 0
    session.input_to = 0
    session.input_ending = 0
    session.terminal = 0
    session.credit = 0
    for i in range(u64(2)):
        session.streams[i].fd = -1
        session.streams[i].kind = 0
    session.report = -1
    session.exited = 0
    session.status = 0
    session.stage = 0
    session.error = 0
    session.deadline = 0


@native(inline=False)
def hang_up(s: ptr[State], session: ptr[Session]) -> None:
    """The connection is gone. Its command lives on with closed streams; one at a terminal is told by SIGHUP."""
    g = s.given
    close(g, session.fd)
    for i in range(u64(2)):
        if session.streams[i].fd != session.input:
            close(g, session.streams[i].fd)
    close(g, session.input)
    close(g, session.report)
    if s.kept == 0:  # the next connection has it sooner than new memory
        s.kept = session.memory
    else:
        unmap(g, session.memory, MEMORY)
    session.memory = 0
    if s.spare == NO_MORE:
        s.spare = 0
    session.pid = 0


@native
def input_at(session: ptr[Session]) -> ptr[u8]:
    """The room for input that the command has not taken."""
    return cast(ptr[u8], session.memory + TAKEN + SAID)


@native
def take_input(session: ptr[Session], content: ptr[u8], size: u64) -> boolean:
    """Keep input for the command; False where the host had no credit for it."""
    if session.input_ending != 0:
        return size == 0
    if size == 0:
        session.input_ending = 1
        return True
    if session.input_to - session.input_from + session.credit + size > WINDOW:
        return False
    if session.input < 0:  # it was closed by the command, or there never was one
        session.credit += size
        return True
    room = input_at(session)
    if session.input_to + size > WINDOW:
        copy(room, room + session.input_from, session.input_to - session.input_from)
        session.input_to -= session.input_from
        session.input_from = 0
    copy(room + session.input_to, content, size)
    session.input_to += size
    return True


@native
def take_signal(s: ptr[State], session: ptr[Session], number: i64) -> boolean:
    """Signal the command, if it still runs; False for a number that is no signal's."""
    if number < 1 or number > _MOST_SIGNAL:
        return False
    if session.pid > 0 and session.exited == 0:
        syscall(s.given.calls.kill, u64(session.pid), u64(number))
    return True


@native
def take_size(s: ptr[State], session: ptr[Session], value: i64) -> boolean:
    """Give the command's terminal another size."""
    if session.terminal != 0 and session.input >= 0:
        resize(s, session.input, u16(value >> 16), u16(value))
    return True


@native
def direct(s: ptr[State], session: ptr[Session], kind: u64, value: i64, content: ptr[u8], size: u64) -> boolean:
    """Do what a message to a running command says; False where none may come now."""
    if kind == INPUT:
        return take_input(session, content, size)
    if kind == SIGNAL:
        return take_signal(s, session, value)
    if kind == RESIZE:
        return take_size(s, session, value)
    return False


@native
def begin(s: ptr[State], session: ptr[Session], content: ptr[u8], size: u64) -> boolean:
    """Start a command; False for one that cannot be read."""
    command = cast(ptr[Exec], content)
    if not check_exec(command, size):
        return False
    session.phase = BUSY
    session.flags = command.flags
    if not become(s, session, command):
        start(s, session, command, cast(ptr[Ends], ref(s.words) + 8))
    return True


@native(inline=False)
def take(s: ptr[State], session: ptr[Session], kind: u64, value: i64, content: ptr[u8], size: u64) -> boolean:
    """Do what a message says; False where it breaks a rule."""
    if session.phase == OVER:
        return True
    if session.phase == BUSY:
        return direct(s, session, kind, value, content, size)
    if kind == EXEC:
        return begin(s, session, content, size)
    if kind == INPUT or kind == SIGNAL or kind == RESIZE:
        return False
    serve(s, session, kind, value, content, size)
    return True


@native
def is_sound(s: ptr[State], header: ptr[Header]) -> boolean:
    """Whether a message may begin like this."""
    if header.magic != MAGIC or header.version != VERSION or header.kind > MOST_KIND:
        return False
    limit = ref(s.given.limits[u64(header.kind)])
    return limit.known != 0 and limit.least <= header.size and header.size <= limit.most


@native(inline=False)
def take_all(s: ptr[State], session: ptr[Session]) -> i64:
    """Do what has come wholly, as long as there is room for answers; 0, or an error for what breaks a rule."""
    room = cast(ptr[u8], session.memory)
    done: u64 = 0
    most: u64 = 0
    while session.taken - done >= HEADER_SIZE and may_speak(session):
        if done % 8 != 0:  # structures are read where they lie
            copy(room, room + done, session.taken - done)
            session.taken -= done
            done = 0
        header = cast(ptr[Header], room + done)
        if not is_sound(s, header):
            return EINVAL
        size = u64(header.size)
        if session.taken - done < HEADER_SIZE + size:
            break
        if not take(s, session, u64(header.kind), i64(header.value), room + done + HEADER_SIZE, size):
            return EINVAL
        done += HEADER_SIZE + size
        if size > most:
            most = size
    if done != 0:
        copy(room, room + done, session.taken - done)
        session.taken -= done
    if most > _MUCH and session.taken == 0:
        release(s.given, session.memory, TAKEN)
    return 0


@native(inline=False)
def hear(s: ptr[State], session: ptr[Session]) -> i64:
    """Something has come over a connection; 0, or an error that ends it."""
    if session.phase == OVER:
        session.taken = 0
    if session.taken < TAKEN:
        n = read(s.given, session.fd, cast(ptr[u8], session.memory) + session.taken, TAKEN - session.taken)
        if n == EAGAIN or n == EINTR:
            return 0
        if n <= 0:
            return EINVAL
        session.taken += u64(n)
    return take_all(s, session)
