"""What is written into the machine's folder: that the process was started, and how it ended. Each appears whole or not at all."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import (
    O_CREAT,
    O_TRUNC,
    O_WRONLY,
    Call,
    close,
    open_in,
    open_path,
    rename_in,
    word,
    write_all,
)
from gasang.kinds.container.supervisor.protocol import CONTROL_NAME, EPHEMERAL, EXIT_NAME, MESSAGE_MAGIC, START_NAME, VERSION, Status
from gasang.kinds.container.supervisor.state import State
from gasang.native import cast, i64, load_unaligned, native, ptr, ref, sizeof, syscall, u8, u16, u32, u64

STARTED_WORD, EXIT_WORD, CONTROL_WORD, UNFINISHED = word(START_NAME), word(EXIT_NAME), word(CONTROL_NAME), word("record~")
_OOM_KILL: Final = word("oom_kill")
_READ_ONLY = 0


@native
def name_at(s: ptr[State], at: u64, name: u64) -> ptr[u8]:
    """A name of at most seven characters as a text."""
    s.words[at] = name
    return cast(ptr[u8], ref(s.words) + at)


@native
def write_record(s: ptr[State], kind: u32, name: u64) -> i64:
    """Write the present state under a name; the record's descriptor, or an error."""
    s.status.magic = MESSAGE_MAGIC
    s.status.version = VERSION
    s.status.kind = u16(kind)
    s.status.tag = 0
    s.status.error = 0
    s.status.value = 0
    unfinished = name_at(s, 4, UNFINISHED)
    fd = open_in(s.folder, unfinished, O_WRONLY | O_CREAT | O_TRUNC)
    if fd < 0:
        return fd
    result = write_all(fd, cast(ptr[u8], ref(s.status)), sizeof(Status))
    if result == 0:
        result = rename_in(s.folder, unfinished, name_at(s, 6, name))
    if result == 0:
        return fd
    close(fd)
    return result


@native
def force_record(s: ptr[State], fd: i64) -> None:
    """Have a record on the disk, content and name, and let go of it. Nothing but a crash of the host can lose it before."""
    if fd >= 0 and s.config.flags & EPHEMERAL == 0:
        syscall(Call.fdatasync, u64(fd))
        syscall(Call.fsync, u64(s.folder))
    close(fd)


@native
def open_oom(s: ptr[State]) -> None:
    """Open the control group's file that counts kills for want of memory: memory.events, or memory.oom_control of version 1."""
    if s.oom < 0 and s.config.oom_path[0] != 0:
        s.oom = open_path(ref(s.config.oom_path), _READ_ONLY)


@native
def count_oom(s: ptr[State]) -> u64:
    """The number in its line `oom_kill N`."""
    if s.oom < 0:
        return 0
    text = ref(s.text)
    n = syscall(Call.pread64, u64(s.oom), u64(text), 500, 0)
    if n <= 0:
        return 0
    i: u64 = 0
    while i + 10 <= u64(n):
        if load_unaligned(cast(ptr[u64], text + i)) == _OOM_KILL and text[i + 8] == 0x20:
            count: u64 = 0
            i += 9
            while i < u64(n) and text[i] >= 0x30 and text[i] <= 0x39:
                count = count * 10 + u64(text[i] - 0x30)
                i += 1
            return count
        while i < u64(n) and text[i] != 10:
            i += 1
        i += 1
    return 0
