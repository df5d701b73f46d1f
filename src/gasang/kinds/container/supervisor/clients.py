"""Those attached: output is sent to them at once, or kept in a ring while they do not read; input comes from them.

A patient client whose ring is half full holds the process up (nothing is read from it until there is room); another is let go of when its
ring is full. After the process's end nobody holds anything up: what is in the pipes fits in the other half.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import EAGAIN, EINTR, Call, close, map_memory, read, steady_clock, unmap, write
from gasang.kinds.container.supervisor.messages import announce
from gasang.kinds.container.supervisor.protocol import (
    AT_END,
    BY_KEYS,
    DETACHED,
    EARLY,
    ENDS_STDIN,
    GONE,
    HELD,
    MULTIPLEXED,
    PATIENT,
    RUNNING,
    TOO_SLOW,
    WANT_STDERR,
    WANT_STDIN,
    WANT_STDOUT,
)
from gasang.kinds.container.supervisor.state import INPUT_BUFFER, MOST_CLIENTS, RING, RING_HIGH, Client, State
from gasang.native import boolean, bswap, cast, copy, i64, minimum, native, ptr, ref, store_unaligned, syscall, u8, u32, u64

FRAME: Final = 8
"""Bytes before each piece of multiplexed output: stream, three zeroes, length with the highest byte first."""


@native
def let_go(s: ptr[State], client: ptr[Client], reason: u32) -> None:
    """Detach a client and tell those who listen."""
    if client.flags & ENDS_STDIN != 0 and client.input_over == 0 and s.terminal == 0:
        s.input_ending = 1
    close(client.fd)
    close(client.early)
    if client.ring != 0:
        unmap(client.ring, RING)
        client.ring = 0
    client.used = 0
    s.status.clients -= 1
    announce(s, DETACHED, client.number, reason)


@native
def kept(client: ptr[Client]) -> u64:
    """Bytes that wait to be sent."""
    return client.kept - client.sent


@native
def is_waiting(client: ptr[Client]) -> boolean:
    """Whether who attached a client has still to release or to feed it."""
    return client.flags & HELD != 0 or (client.flags & EARLY != 0 and client.early < 0)


@native
def holds_up(s: ptr[State]) -> boolean:
    """Whether a patient client has so much to read that the process must wait."""
    if s.exited != 0:
        return False
    for i in range(u64(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used != 0 and client.flags & PATIENT != 0 and kept(client) >= RING_HIGH:
            return True
    return False


@native
def keep(s: ptr[State], client: ptr[Client], data: ptr[u8], count: u64) -> boolean:
    """Put bytes into the ring; False where there is no room."""
    if client.ring == 0:
        client.ring = map_memory(RING)
        if client.ring == 0:
            return False
    if kept(client) == 0:
        client.since = steady_clock(ref(s.words))
    if kept(client) + count > RING:
        return False
    ring = cast(ptr[u8], client.ring)
    place = client.kept % RING
    first = minimum(count, RING - place)
    copy(ring + place, data, first)
    copy(ring, data + first, count - first)
    client.kept += count
    return True


@native
def send_some(s: ptr[State], client: ptr[Client], framed: boolean, frame: ptr[u8], data: ptr[u8], count: u64) -> i64:
    """Try to send frame and data in one call; bytes sent (0 where the client does not read), or an error."""
    n: i64 = EINTR
    while n == EINTR:
        if framed:
            pieces = ref(s.words) + 16  # two of struct iovec
            pieces[0] = u64(frame)
            pieces[1] = FRAME
            pieces[2] = u64(data)
            pieces[3] = count
            n = syscall(Call.writev, u64(client.fd), u64(pieces), 2)
        else:
            n = write(client.fd, data, count)
    return 0 if n == EAGAIN else n


@native(inline=False)
def deliver_to(s: ptr[State], client: ptr[Client], number: u64, data: ptr[u8], count: u64) -> None:
    """Give a client a piece of output."""
    framed = client.flags & MULTIPLEXED != 0
    frame = cast(ptr[u8], ref(s.words) + 24)
    size: u64 = FRAME if framed else 0
    store_unaligned(cast(ptr[u64], frame), number | u64(bswap(u32(count))) << 32)
    sent: u64 = 0
    if kept(client) == 0 and client.flags & HELD == 0:
        n = send_some(s, client, framed, frame, data, count)
        if n < 0:
            let_go(s, client, GONE)
            return
        sent = u64(n)
    fits = True
    if sent < size:
        fits = keep(s, client, frame + sent, size - sent)
        sent = size
    if fits and sent < size + count:
        fits = keep(s, client, data + (sent - size), size + count - sent)
    if not fits:
        let_go(s, client, TOO_SLOW)


@native(inline=False)
def deliver(s: ptr[State], number: u64, data: ptr[u8], count: u64) -> None:
    """Give output to all who want this stream."""
    wanted: u32 = WANT_STDOUT if number == 1 else WANT_STDERR
    for i in range(u64(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used != 0 and client.flags & wanted != 0 and client.ending == 0:
            deliver_to(s, client, number, data, count)


@native(inline=False)
def send_kept(s: ptr[State], client: ptr[Client]) -> None:
    """Send from the ring as much as the client takes."""
    while kept(client) != 0:
        place = client.sent % RING
        n = write(client.fd, cast(ptr[u8], client.ring) + place, minimum(kept(client), RING - place))
        if n == EINTR:
            continue
        if n == EAGAIN:
            return
        if n <= 0:
            let_go(s, client, GONE)
            return
        client.sent += u64(n)
        client.since = steady_clock(ref(s.words))
    if client.ending != 0:
        let_go(s, client, client.ending)


@native
def finish(s: ptr[State], client: ptr[Client], reason: u32) -> None:
    """Let go of a client as soon as it has everything."""
    if kept(client) == 0:
        let_go(s, client, reason)
    else:
        client.ending = reason


@native
def finish_all(s: ptr[State]) -> None:
    """The output is over."""
    for i in range(u64(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used != 0 and client.ending == 0:
            finish(s, client, AT_END)


# ---------------------------------------------------------------------- input


@native(inline=False)
def send_input(s: ptr[State]) -> None:
    """Write pending input to the process as far as it takes it; then end it if that is wanted."""
    while s.input_from < s.input_to and s.input >= 0:
        n = write(s.input, cast(ptr[u8], s.input_buffer) + s.input_from, s.input_to - s.input_from)
        if n == EINTR:
            continue
        if n == EAGAIN:
            return
        if n < 0:
            s.input_ending = 1  # the process has closed it
            break
        s.input_from += u64(n)
    s.input_from = 0
    s.input_to = 0
    if s.input_ending != 0 and s.terminal == 0:
        close(s.input)
        s.input = -1


@native
def through_keys(client: ptr[Client], data: ptr[u8], count: u64, to: ptr[u8]) -> u64:
    """Copy input without the sequence that detaches; bytes written. A begun sequence is held back until it is clear what it is."""
    out: u64 = 0
    for i in range(count):
        byte = data[i]
        if client.matched < client.key_count and byte == client.keys[client.matched]:
            client.matched += 1
            if client.matched == client.key_count:
                return out
            continue
        for k in range(client.matched):
            to[out] = client.keys[k]
            out += 1
        client.matched = 0
        if client.key_count != 0 and byte == client.keys[0]:
            client.matched = 1
        else:
            to[out] = byte
            out += 1
    return out


@native
def end_input(s: ptr[State], client: ptr[Client]) -> None:
    """A client types no more. Where that may not end the process's input (a terminal has no end) the client leaves, as Docker has it."""
    client.input_over = 1
    if client.flags & ENDS_STDIN != 0 and s.terminal == 0:
        s.input_ending = 1
        send_input(s)
    else:
        finish(s, client, GONE)


@native(inline=False)
def take_input(s: ptr[State], client: ptr[Client]) -> None:
    """Read what a client has typed. The buffer is empty: nobody is asked before."""
    room = cast(ptr[u8], s.input_buffer)
    raw = room + INPUT_BUFFER
    early = client.early >= 0
    n = read(client.early if early else client.fd, raw, INPUT_BUFFER // 2)
    if n == EAGAIN or n == EINTR:
        return
    if n == 0 and early:
        close(client.early)
        client.early = -1
        client.flags = client.flags & ~u32(EARLY)
        return
    if n < 0:
        let_go(s, client, GONE)
        return
    if n == 0:
        end_input(s, client)
        return
    if client.key_count == 0:
        copy(room, raw, u64(n))
        s.input_to = u64(n)
    else:
        s.input_to = through_keys(client, raw, u64(n), room)
    s.input_from = 0
    if s.input < 0 or s.input_ending != 0 or s.exited != 0:
        s.input_to = 0
    if client.key_count != 0 and client.matched == client.key_count:
        client.input_over = 1
        let_go(s, client, BY_KEYS)
    send_input(s)


@native
def wants_input(s: ptr[State], client: ptr[Client]) -> boolean:
    """Whether to read from a client now."""
    if s.status.state < RUNNING or (client.flags & EARLY != 0 and client.early < 0):
        return False
    return client.flags & WANT_STDIN != 0 and client.input_over == 0 and s.input_from == s.input_to and client.ending == 0


@native
def take_early(s: ptr[State], client: ptr[Client]) -> None:
    """Read what a client had sent before it was attached, as far as the process takes it: a file is always ready."""
    while client.used != 0 and client.early >= 0 and wants_input(s, client):
        take_input(s, client)
