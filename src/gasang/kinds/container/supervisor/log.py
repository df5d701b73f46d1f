"""The log: entries of Docker's json-file format, one file up to a size and then the next.

`NAME` is the newest; `NAME.1`, `NAME.2` … are older. A file takes entries as long as it is smaller than the configured size. An entry is
written whole or not at all: where the disk is full, the file is cut back to what was whole and the loss is counted.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import (
    EINTR,
    O_APPEND,
    O_CREAT,
    O_RDWR,
    Call,
    close,
    file_size,
    open_in,
    rename_in,
    unlink_in,
    word,
    write,
)
from gasang.kinds.container.supervisor.protocol import LOG, NAME_SIZE
from gasang.kinds.container.supervisor.state import LOG_BUFFER, PIECE, State, Stream
from gasang.kinds.container.supervisor.text import MOST_GROWTH, escape, put, put_decimal
from gasang.native import boolean, cast, copy, i64, native, ptr, ref, syscall, u8, u32, u64

_HEAD: Final = word('{"log":"')
_LINE_END: Final = word("\\n")
_STREAM: Final = (word('","strea'), word('m":"stdo'), word('ut","tim'), word('m":"stde'), word('rr","tim'), word('e":"'))
STREAM_1, STREAM_2_OUT, STREAM_3_OUT, STREAM_2_ERR, STREAM_3_ERR, STREAM_4 = _STREAM
_TAIL: Final = word('"}\n')
_MOST: Final = PIECE * MOST_GROWTH + 256
"""An entry is never longer."""
_NEWLINE: Final = 10


@native
def name_of(s: ptr[State], number: u32, to: ptr[u8]) -> ptr[u8]:
    """The name of a log file: the newest is number 0."""
    end: u64 = 0
    while end < NAME_SIZE - 1 and s.config.log_name[end] != 0:
        to[end] = s.config.log_name[end]
        end += 1
    if number != 0:
        to[end] = 0x2E
        end += 1 + put_decimal(to + end + 1, number)
    to[end] = 0
    return to


@native
def open_log(s: ptr[State]) -> i64:
    """Open the newest log file and go on at its end; 0 or the error. A last line without end, left by a crash, gets one."""
    if s.config.flags & LOG == 0:
        return 0
    fd = open_in(s.folder, name_of(s, 0, ref(s.text)), O_RDWR | O_CREAT | O_APPEND)
    if fd < 0:
        return fd
    close(s.log.fd)
    s.log.fd = fd
    size = file_size(fd)
    s.log.size = u64(size) if size > 0 else 0
    last = ref(s.text)
    if size > 0 and syscall(Call.pread64, u64(fd), u64(last), 1, u64(size) - 1) == 1 and last[0] != _NEWLINE:
        last[0] = _NEWLINE
        if write(fd, last, 1) == 1:
            s.log.size += 1
    return 0


@native
def rotate(s: ptr[State]) -> None:
    """Begin a new file; the oldest goes. With one file only, it is emptied."""
    s.status.rotations += 1
    count = s.config.log_count
    if count < 2:
        syscall(Call.ftruncate, u64(s.log.fd), 0)
        s.log.size = 0
        return
    number = count - 1
    # Its name is made free first: ext4 writes a file that is renamed over another to the disk at once, and output would wait.
    unlink_in(s.folder, name_of(s, number, ref(s.text)))
    while number > 0:
        rename_in(s.folder, name_of(s, number - 1, ref(s.text)), name_of(s, number, ref(s.text) + 256))
        number -= 1
    open_log(s)


@native(inline=False)
def flush_log(s: ptr[State]) -> None:
    """Write what has been collected: whole entries."""
    done: u64 = 0
    data = cast(ptr[u8], s.log.buffer)
    while done < s.log.used:
        n = write(s.log.fd, data + done, s.log.used - done)
        if n == EINTR:
            continue
        if n < 0:
            syscall(Call.ftruncate, u64(s.log.fd), s.log.size)
            s.status.lost += s.log.used
            s.log.used = 0
            return
        done += u64(n)
    s.log.size += done
    s.status.logged += done
    s.log.used = 0


@native
def add_entry(s: ptr[State], stream: ptr[Stream], text: ptr[u8], count: u64, ended: boolean, time: ptr[u8], time_size: u64) -> None:
    """Add an entry: a line, or a piece of one. A full file is left first."""
    if s.config.log_size != 0 and s.log.size + s.log.used >= s.config.log_size:
        flush_log(s)
        rotate(s)
    if s.log.used + _MOST > LOG_BUFFER:
        flush_log(s)
    to = cast(ptr[u8], s.log.buffer) + s.log.used
    put(to, _HEAD)
    end = 8 + escape(to + 8, text, count, ref(s.words))
    if ended:
        put(to + end, _LINE_END)
        end += 2
    put(to + end, STREAM_1)
    put(to + end + 8, STREAM_2_OUT if stream.number == 1 else STREAM_2_ERR)
    put(to + end + 16, STREAM_3_OUT if stream.number == 1 else STREAM_3_ERR)
    put(to + end + 24, STREAM_4)
    end += 28
    copy(to + end, time, 32)
    end += time_size
    put(to + end, _TAIL)
    s.log.used += end + 3
