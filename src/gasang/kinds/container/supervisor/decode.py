"""Reading the log: entries of Docker's json-file format as raw or multiplexed output, to a descriptor.

An entry is `{"log":"…","stream":"stdout","time":"…"}` and a newline; after the text there may be other members, which Docker writes for
labels. What is no such line is passed over: a crash can leave half of one. Only whole lines count, so a growing file can be read as it is.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import EAGAIN, EINTR, Call, word, write
from gasang.kinds.container.supervisor.clients import FRAME
from gasang.kinds.container.supervisor.text import find_newline
from gasang.kinds.container.supervisor.times import FIXED_SIZE, NO_TIME, put_fixed_time, read_time
from gasang.kinds.container.supervisor.unescape import NO_END, skip_string, skip_value, unescape
from gasang.native import (
    array,
    boolean,
    bswap,
    cast,
    copy,
    i64,
    length,
    load_unaligned,
    minimum,
    native,
    ptr,
    ref,
    store_unaligned,
    struct,
    syscall,
    u8,
    u32,
    u64,
)

IN_SIZE: Final = 256 * 1024
OUT_SIZE: Final = 512 * 1024
_OUT_FULL: Final = 128 * 1024
PREFIX_SIZE: Final = 64 * 1024
STEP: Final = 2 * 1024 * 1024
"""Bytes of log that one call reads at most."""

OUT: Final = 1
ERR: Final = 2
FRAMED: Final = 4
STAMPED: Final = 8
JOINED: Final = 16
"""Entries of one stream that follow each other share a frame: for each a client takes a system call, for short lines all its time."""
_FRAME_FULL: Final = 32 * 1024
"""A frame of so many bytes gets no more: clients have room for as much from the start."""

AT_END: Final = 0
BLOCKED: Final = 1
MORE: Final = 2
OVER: Final = 3
"""What `decode` gives: nothing more in the file, the output takes nothing now, call again, or the last wanted entry has passed."""

_HEAD: Final = word('{"log":"')
_MEMBERS: Final = (word('","strea'), word('m":"stdo'), word('ut","tim'), word('m":"stde'), word('rr","tim'))
STREAM_1, STREAM_2_OUT, STREAM_3_OUT, STREAM_2_ERR, STREAM_3_ERR = _MEMBERS
_TIME_4: Final = int.from_bytes(b'e":"', "little")
_KEY_STREAM, _KEY_STDOUT, _KEY_STDERR = word("stream"), word("stdout"), word("stderr")
_KEY_TIME: Final = int.from_bytes(b"time", "little")
_SIX_BYTES: Final = 0xFFFF_FFFF_FFFF
_QUOTE, _COMMA, _COLON = 0x22, 0x2C, 0x3A


@struct
class Decoder:
    """A reader's place, buffers and wishes. `since` and `until` are nanoseconds since 1970, 0 for none."""

    input: i64
    output: i64
    offset: u64  # of the file, from where to read on
    limit: u64  # to where
    buffer: u64
    taken: u64  # bytes of the buffer that are done
    filled: u64
    out_buffer: u64
    out_sent: u64
    out_filled: u64
    since: u64
    until: u64
    flags: u32
    skipping: u32  # in the middle of a line that is longer than the buffer
    over: u32
    frame_stream: u32  # of the last frame in the output, 0 if nothing may be added to it
    frame_at: u64  # where it begins
    stream: u64  # of the line at hand: 1 or 2, 0 if it is no entry
    time: u64  # address of its time's text
    time_size: u64
    prefix: u64  # address of what is shown before each entry
    prefix_size: u64
    room: array[u64] = length(2)


@native(inline=False)
def read_members(d: ptr[Decoder], text: ptr[u8], count: u64, start: u64) -> None:
    """Find stream and time among members in any order, `start` being behind the first; both must be there."""
    i = start
    d.stream = 0
    d.time_size = 0
    while i + 2 < count and text[i] == _COMMA and text[i + 1] == _QUOTE:
        key = i + 2
        key_end = skip_string(text, count, i + 1)
        if key_end >= count or text[key_end] != _COLON:
            return
        value = key_end + 1
        end = skip_value(text, count, value)
        key_size = key_end - 1 - key
        if value + 8 <= count and text[value] == _QUOTE and text[end - 1] == _QUOTE:
            name = load_unaligned(cast(ptr[u64], text + value + 1)) & _SIX_BYTES if end == value + 8 and value + 9 <= count else 0
            if key_size == 6 and load_unaligned(cast(ptr[u64], text + key)) & _SIX_BYTES == _KEY_STREAM:
                d.stream = 1 if name == _KEY_STDOUT else (2 if name == _KEY_STDERR else 0)
            if key_size == 4 and load_unaligned(cast(ptr[u32], text + key)) == _KEY_TIME:
                d.time = u64(text) + value + 1
                d.time_size = end - value - 2
        i = end
    if d.time_size == 0:
        d.stream = 0


@native
def read_rest(d: ptr[Decoder], text: ptr[u8], count: u64, end: u64) -> None:
    """What follows the text of an entry, whose closing quotation mark is at `end`: usually the very members that a supervisor writes."""
    words = text + end
    d.stream = 0
    if count - end > 30 and load_unaligned(cast(ptr[u64], words)) == STREAM_1 and load_unaligned(cast(ptr[u32], words + 24)) == _TIME_4:
        second = load_unaligned(cast(ptr[u64], words + 8))
        third = load_unaligned(cast(ptr[u64], words + 16))
        if second == STREAM_2_OUT and third == STREAM_3_OUT:
            d.stream = 1
        elif second == STREAM_2_ERR and third == STREAM_3_ERR:
            d.stream = 2
        if d.stream != 0 and text[count - 2] == _QUOTE and text[count - 1] == 0x7D:
            d.time = u64(words) + 28
            d.time_size = count - 2 - (end + 28)
            return
    read_members(d, text, count, end + 1)


@native
def is_wanted(d: ptr[Decoder]) -> boolean:
    """Whether the entry at hand is to be shown."""
    wanted: u32 = OUT if d.stream == 1 else ERR
    if d.stream == 0 or d.flags & wanted == 0:
        return False
    if d.flags & STAMPED == 0 and d.since == 0 and d.until == 0:
        return True
    time = read_time(cast(ptr[u8], d.time), d.time_size)
    if time == NO_TIME:
        return False
    if d.until != 0 and time > d.until:
        d.over = 1
        return False
    return time >= d.since


@native
def end_frame(d: ptr[Decoder]) -> None:
    """Write the head of the last frame, which goes to the end of what has been made."""
    count = u32(d.out_filled - d.frame_at - FRAME)
    store_unaligned(cast(ptr[u64], cast(ptr[u8], d.out_buffer) + d.frame_at), d.stream | u64(bswap(count)) << 32)


@native
def take_line(d: ptr[Decoder], text: ptr[u8], count: u64) -> None:
    """Put an entry's text into the output, if it is one that is wanted."""
    if count < 10 or load_unaligned(cast(ptr[u64], text)) != _HEAD:
        return
    adding = d.frame_stream != 0 and d.out_filled - d.frame_at < _FRAME_FULL
    frame: u64 = FRAME if d.flags & FRAMED != 0 and not adding else 0
    stamp: u64 = FIXED_SIZE if d.flags & STAMPED != 0 else 0
    head = stamp + d.prefix_size
    to = cast(ptr[u8], d.out_buffer) + d.out_filled
    size = unescape(to + (frame + head), text + 8, count - 8, ref(d.room))
    if d.room[0] == NO_END:
        return
    read_rest(d, text, count, 8 + d.room[0])
    if not is_wanted(d):
        return
    if adding and d.stream != u64(d.frame_stream):
        copy(to + (FRAME + head), to + head, size)
        frame = FRAME
    if stamp != 0:
        put_fixed_time(to + frame, cast(ptr[u8], d.time), d.time_size)
    copy(to + (frame + stamp), cast(ptr[u8], d.prefix), d.prefix_size)
    if frame != 0:
        d.frame_at = d.out_filled
        d.frame_stream = u32(d.stream) if d.flags & JOINED != 0 else 0
    d.out_filled += frame + head + size
    if d.flags & FRAMED != 0:
        end_frame(d)


@native
def send_out(d: ptr[Decoder]) -> i64:
    """Send what has been made; 0, BLOCKED or an error."""
    d.frame_stream = 0  # its head may be on its way
    while d.out_sent < d.out_filled:
        n = write(d.output, cast(ptr[u8], d.out_buffer) + d.out_sent, d.out_filled - d.out_sent)
        if n == EINTR:
            continue
        if n == EAGAIN:
            return BLOCKED
        if n < 0:
            return n
        d.out_sent += u64(n)
    d.out_sent = 0
    d.out_filled = 0
    return 0


@native
def take_lines(d: ptr[Decoder]) -> i64:
    """Go through the whole lines of the buffer; 0, BLOCKED, OVER or an error."""
    text = cast(ptr[u8], d.buffer)
    while d.taken < d.filled:
        size = find_newline(text + d.taken, d.filled - d.taken)
        if d.taken + size == d.filled:
            return 0
        if d.out_filled + d.prefix_size + size + 64 > OUT_SIZE or d.out_filled >= _OUT_FULL:
            result = send_out(d)
            if result != 0:
                return result
        if d.skipping == 0:
            take_line(d, text + d.taken, size)
        d.skipping = 0
        d.taken += size + 1
        if d.over != 0:
            return OVER
    return 0


@native
def fill_buffer(d: ptr[Decoder]) -> i64:
    """Read on in the file, keeping the begun line; bytes read, 0 at its end, or an error. A line as long as the buffer is passed over."""
    text = cast(ptr[u8], d.buffer)
    left = d.filled - d.taken
    if left == IN_SIZE:
        d.skipping = 1
        left = 0
    elif d.taken != 0:
        copy(text, text + d.taken, left)
    d.taken = 0
    d.filled = left
    most: u64 = 0
    if d.offset < d.limit:
        most = minimum(IN_SIZE - left, d.limit - d.offset)
    n: i64 = EINTR
    while n == EINTR:
        n = syscall(Call.pread64, u64(d.input), u64(text + left), most, d.offset)
    if n > 0:
        d.offset += u64(n)
        d.filled += u64(n)
    return n


@native(inline=False)
def decode(d: ptr[Decoder]) -> i64:
    """Go on: AT_END, BLOCKED, MORE, OVER, or an error of reading or writing."""
    done: u64 = 0
    while True:
        result = take_lines(d)
        if result == 0 and done < STEP:
            n = fill_buffer(d)
            if n < 0:
                return n
            if n > 0:
                done += u64(n)
                continue
            result = send_out(d)
            return AT_END if result == 0 else result
        if result == 0:
            return MORE
        if result == OVER:
            sent = send_out(d)
            return OVER if sent == 0 else sent
        return result


# ---------------------------------------------------------------------- the last lines


@native
def count_newlines(text: ptr[u8], count: u64) -> u64:
    """How many newlines there are."""
    found: u64 = 0
    for i in range(count):
        found += u64(text[i] == 10)
    return found


@native(inline=False)
def find_tail(d: ptr[Decoder], size: u64, wanted: u64) -> i64:
    """Where the last `wanted` whole lines of the first `size` bytes begin, or an error; `stream` is set to how many there are."""
    text = cast(ptr[u8], d.buffer)
    end = size
    seen: u64 = 0
    d.stream = 0
    while end > 0:
        most = minimum(end, IN_SIZE)
        n = syscall(Call.pread64, u64(d.input), u64(text), most, end - most)
        if n < 0:
            return n
        if u64(n) != most:
            return 0
        here = count_newlines(text, most)
        if seen + here > wanted:
            place = most
            while seen <= wanted:
                place -= 1
                if text[place] == 10:
                    seen += 1
            d.stream = wanted
            return i64(end - most + place + 1)
        seen += here
        end -= most
    d.stream = seen
    return 0
