"""What goes out over a connection: collected in the session's room, sent as far as the host takes it."""

from __future__ import annotations

from gasang.kinds.vm.agent.guest.calls import EAGAIN, EINTR, Given, read, write
from gasang.kinds.vm.agent.guest.state import RESERVE, SAID, TAKEN, Session, State, Stream
from gasang.kinds.vm.agent.protocol import ANSWER, HEADER_SIZE, MAGIC, PIECE, VERSION
from gasang.native import boolean, cast, copy, i32, i64, minimum, native, ptr, store_unaligned, u8, u16, u32, u64


@native
def said_at(session: ptr[Session]) -> ptr[u8]:
    """The room for what goes out."""
    return cast(ptr[u8], session.memory + TAKEN)


@native
def said_room(session: ptr[Session]) -> u64:
    """Bytes that still fit."""
    return SAID - session.said_to


@native
def may_speak(session: ptr[Session]) -> boolean:
    """Whether there is room for what a request is answered."""
    return said_room(session) >= RESERVE // 2


@native
def put_header(to: ptr[u8], kind: u64, value: i64, size: u64) -> None:
    """Write a header; `to` may lie anywhere."""
    store_unaligned(cast(ptr[u32], to), MAGIC)
    store_unaligned(cast(ptr[u16], to + 4), VERSION)
    store_unaligned(cast(ptr[u16], to + 6), u16(kind))
    store_unaligned(cast(ptr[u32], to + 8), u32(size))
    store_unaligned(cast(ptr[i32], to + 12), i32(value))


@native
def say(session: ptr[Session], kind: u64, value: i64, content: ptr[u8], size: u64) -> None:
    """Add a message, for which there is room."""
    to = said_at(session) + session.said_to
    put_header(to, kind, value, size)
    copy(to + HEADER_SIZE, content, size)
    session.said_to += HEADER_SIZE + size


@native
def answer(session: ptr[Session], result: i64) -> None:
    """Answer a request: 0 or an error."""
    say(session, ANSWER, result, said_at(session), 0)


@native
def send(g: ptr[Given], session: ptr[Session]) -> i64:
    """Send what the host takes; 0, or the error that ends the connection."""
    room = said_at(session)
    while session.said_from < session.said_to:
        n = write(g, session.fd, room + session.said_from, session.said_to - session.said_from)
        if n == EINTR:
            continue
        if n == EAGAIN:
            break
        if n < 0:
            return n
        session.said_from += u64(n)
    if session.said_from != 0:
        copy(room, room + session.said_from, session.said_to - session.said_from)
        session.said_to -= session.said_from
        session.said_from = 0
    return 0


@native
def stream_room(session: ptr[Session]) -> u64:
    """Bytes of a stream that may be read now: none rather than a few."""
    least: u64 = HEADER_SIZE + RESERVE + 4096
    if said_room(session) < least:
        return 0
    return minimum(said_room(session) - RESERVE - HEADER_SIZE, u64(PIECE))


@native(inline=False)
def pass_on(s: ptr[State], session: ptr[Session], stream: ptr[Stream]) -> boolean:
    """Read an output straight into a message; False where it has ended."""
    to = said_at(session) + session.said_to
    n = read(s.given, stream.fd, to + HEADER_SIZE, stream_room(session))
    if n == EAGAIN or n == EINTR:
        return True
    if n <= 0:  # a terminal gives EIO when nobody has it open any more
        return False
    put_header(to, stream.kind, 0, u64(n))
    session.said_to += HEADER_SIZE + u64(n)
    return True
