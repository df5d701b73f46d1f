"""The loop: wait for something, do it, until the process has ended and everybody has heard.

Outputs and clients come first in a round and new connections last, so that a place in a table is never taken anew in the round in which
it became free.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import NANOSECONDS, Call, read, release, steady_clock
from gasang.kinds.container.supervisor.clients import (
    holds_up,
    is_waiting,
    kept,
    let_go,
    send_input,
    send_kept,
    take_early,
    take_input,
    wants_input,
)
from gasang.kinds.container.supervisor.control import accept, serve
from gasang.kinds.container.supervisor.process import drained, hear_more, reap, signal
from gasang.kinds.container.supervisor.protocol import DRAINING, FINISHED, GONE, HELD, TOO_SLOW, WAITING
from gasang.kinds.container.supervisor.state import (
    INPUT_BUFFER,
    LOG_BUFFER,
    MOST_CLIENTS,
    MOST_CONNECTIONS,
    RING,
    STREAM_BUFFER,
    State,
)
from gasang.kinds.container.supervisor.streams import pump
from gasang.native import boolean, cast, i16, i32, i64, native, ptr, ref, syscall, u32, u64

POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
_STREAM, _INPUT, _CLIENT, _CONNECTION, _SIGNALS, _LISTENER, _WATCHED = (kind << 8 for kind in range(1, 8))
_PATIENCE: Final = 30 * NANOSECONDS
"""How long a client may read nothing after the end before it is let go of."""
_IDLE: Final = NANOSECONDS
"""After so long without anything to do, memory that was needed for a burst is given back."""
_SIGCHLD, _SIGTERM, _SIGINT = 17, 15, 2


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
def is_connected(s: ptr[State], number: u64) -> boolean:
    """Whether a control connection is still there."""
    for i in range(u64(MOST_CONNECTIONS)):
        if s.connections[i].used != 0 and s.connections[i].number == number:
            return True
    return False


@native
def gather(s: ptr[State]) -> None:
    """What to wait for now."""
    s.polled_count = 0
    held_up = holds_up(s)
    for i in range(u32(2)):
        if s.streams[i].fd >= 0 and not held_up:
            add(s, s.streams[i].fd, POLLIN, _STREAM | i)
    for i in range(u32(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used != 0 and is_waiting(client) and not is_connected(s, client.owner):
            let_go(s, client, GONE)  # nobody is left who could release or feed it
        take_early(s, client)
        if client.used != 0:
            events: i16 = POLLIN if wants_input(s, client) else 0
            if kept(client) != 0 and client.flags & HELD == 0:
                events = events | POLLOUT
            add(s, client.fd, events, _CLIENT | i)
    if s.input >= 0 and s.input_from < s.input_to:
        add(s, s.input, POLLOUT, _INPUT)
    if s.watched >= 0:
        add(s, s.watched, POLLIN, _WATCHED)
    add(s, s.signals, POLLIN, _SIGNALS)
    for i in range(u32(MOST_CONNECTIONS)):
        if s.connections[i].used != 0:
            add(s, s.connections[i].fd, POLLIN, _CONNECTION | i)
    if s.cannot_accept == 0:
        add(s, s.listener, POLLIN, _LISTENER)
    s.cannot_accept = 0  # it is tried again after the next wait, which is short


@native
def wait_time(s: ptr[State]) -> u64:
    """Nanoseconds to wait at most; all ones for as long as it takes."""
    if s.status.state == DRAINING:
        now = steady_clock(ref(s.words))
        return s.deadline - now if s.deadline > now else 0
    if s.status.state == FINISHED or s.idle == 0:
        return _IDLE
    return ~u64(0)


@native
def serve_client(s: ptr[State], index: u32, events: i16) -> None:
    """Something can be read from, or sent to, a client; or it is gone."""
    client = ref(s.clients[index])
    if client.used != 0 and events & POLLOUT != 0:
        send_kept(s, client)
    if client.used != 0 and events & POLLIN != 0 and wants_input(s, client):
        take_input(s, client)
    elif client.used != 0 and events & (POLLERR | POLLHUP) != 0:
        let_go(s, client, GONE)


@native
def take_signals(s: ptr[State]) -> None:
    """A child has ended; or we are asked to end, and pass that on."""
    information = ref(s.text)  # struct signalfd_siginfo
    while read(s.signals, information, 128) == 128:
        number = cast(ptr[u32], information)[0]
        if number == _SIGTERM or number == _SIGINT:
            if s.status.state == WAITING:
                s.status.state = FINISHED
            else:
                signal(s, _SIGTERM)
    reap(s)


@native(inline=False)
def act(s: ptr[State], meaning: u32, events: i16) -> None:
    """One descriptor is ready."""
    kind = meaning & ~u32(0xFF)
    index = meaning & 0xFF
    if kind == _STREAM:
        pump(s, ref(s.streams[index]))
    elif kind == _CLIENT:
        serve_client(s, index, events)
    elif kind == _INPUT:
        send_input(s)
    elif kind == _SIGNALS:
        take_signals(s)
    elif kind == _CONNECTION:
        if s.connections[index].used != 0:
            serve(s, ref(s.connections[index]))
    elif kind == _LISTENER:
        accept(s)
    elif kind == _WATCHED:
        hear_more(s)


@native
def give_back(s: ptr[State]) -> None:
    """Nothing has happened for a while: give back memory that holds nothing."""
    s.idle = 1
    for i in range(u64(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used != 0 and client.ring != 0 and kept(client) == 0:
            release(client.ring, RING)
    for i in range(u64(2)):
        if s.streams[i].carried == 0:
            release(s.streams[i].buffer, STREAM_BUFFER)
    if s.input_from == s.input_to:
        release(s.input_buffer, INPUT_BUFFER * 2)
    release(s.log.buffer, LOG_BUFFER)


@native
def still_needed(s: ptr[State]) -> boolean:
    """Whether somebody has not got everything yet. Those who read nothing for too long are let go of."""
    if s.status.state != FINISHED:
        return True
    now = steady_clock(ref(s.words))
    needed = False
    for i in range(u64(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used != 0 and now - client.since > _PATIENCE:
            let_go(s, client, TOO_SLOW)
        elif client.used != 0:
            needed = True
    return needed


@native
def run(s: ptr[State]) -> None:
    """Until everything is over."""
    while still_needed(s):
        gather(s)
        limit = wait_time(s)
        time = ref(s.words)
        time[0] = limit // NANOSECONDS
        time[1] = limit % NANOSECONDS
        ready = syscall(Call.ppoll, u64(ref(s.polled)), u64(s.polled_count), 0 if limit == ~u64(0) else u64(time), 0, 8)
        if ready > 0:
            s.idle = 0
            count = s.polled_count
            for i in range(count):
                if s.polled[i].revents != 0:
                    act(s, s.meaning[i], s.polled[i].revents)
        elif ready == 0 and s.status.state != DRAINING:
            give_back(s)
        if s.input_ending != 0 and s.input >= 0 and s.input_from == s.input_to:
            send_input(s)
        drained(s)
