"""From the process's outputs to the log and to whoever is attached.

Lines go to the log when their end has come; a line longer than PIECE in pieces, all with the time of the first, of which only the last has
a newline. Clients get everything at once.
"""

from __future__ import annotations

from gasang.kinds.container.supervisor.calls import EAGAIN, EINTR, close, read, wall_clock
from gasang.kinds.container.supervisor.clients import deliver, holds_up
from gasang.kinds.container.supervisor.log import add_entry, flush_log
from gasang.kinds.container.supervisor.protocol import LOG
from gasang.kinds.container.supervisor.state import PIECE, READ, State, Stream
from gasang.kinds.container.supervisor.text import find_newline, put_time
from gasang.native import boolean, cast, copy, minimum, native, ptr, ref, u8, u64

_TURNS = 8
_TIME_AT = 448  # the rest of the room is for names of files


@native
def add_piece(s: ptr[State], stream: ptr[Stream], text: ptr[u8], count: u64, ended: boolean, time: ptr[u8], time_size: u64) -> None:
    """A line's end, or a piece of it that is as long as an entry may be."""
    if stream.time_size != 0:
        add_entry(s, stream, text, count, ended, ref(stream.time), stream.time_size)
    else:
        add_entry(s, stream, text, count, ended, time, time_size)
        if not ended:
            copy(ref(stream.time), time, time_size)
            stream.time_size = time_size
    if ended:
        stream.time_size = 0


@native(inline=False)
def log_output(s: ptr[State], stream: ptr[Stream], fresh: u64, over: boolean) -> None:
    """Log the buffer's lines: `carried` bytes from before, `fresh` new ones. What has no end yet is carried, unless nothing will come."""
    text = cast(ptr[u8], stream.buffer)
    total = stream.carried + fresh
    if not over and stream.carried + fresh < PIECE and find_newline(text + stream.carried, fresh) == fresh:
        stream.carried = total
        return
    time = ref(s.text) + _TIME_AT
    time_size = put_time(time, wall_clock(ref(s.words)))
    done: u64 = 0
    while done < total:
        most = minimum(total - done, PIECE)
        size = find_newline(text + done, most)
        if size < most:
            add_piece(s, stream, text + done, size, True, time, time_size)
            done += size + 1
        elif most == PIECE or over:
            add_piece(s, stream, text + done, most, False, time, time_size)
            done += most
        else:
            break
    copy(text, text + done, total - done)
    stream.carried = total - done
    flush_log(s)


@native
def end_stream(s: ptr[State], stream: ptr[Stream]) -> None:
    """Nothing more comes from this output."""
    if stream.carried != 0:
        log_output(s, stream, 0, True)
    if stream.fd != s.input:  # a terminal is both
        close(stream.fd)
    stream.fd = -1


@native(inline=False)
def pump(s: ptr[State], stream: ptr[Stream]) -> None:
    """Take what an output has, a few times over while there is much."""
    for _ in range(_TURNS):
        fresh = cast(ptr[u8], stream.buffer) + stream.carried
        n = read(stream.fd, fresh, READ)
        if n == EAGAIN or n == EINTR:
            return
        if n <= 0:  # the end; a terminal gives EIO when nobody has it open any more
            end_stream(s, stream)
            return
        deliver(s, stream.number, fresh, u64(n))
        if s.config.flags & LOG != 0:
            log_output(s, stream, u64(n), False)
        if u64(n) < READ or holds_up(s):
            return
